import { buildManifest } from '@start9labs/start-sdk'
import { actions } from './actions'
import { setInterfaces } from './interfaces'
import { manifest as facts } from './manifest'
import { sdk } from './sdk'
import { createToken } from './token'
import { versionGraph } from './versions'

export { actions }
export { main } from './main'

// The known peers and the token.
export const { createBackup, restoreInit } = sdk.setupBackups(async () => sdk.Backups.ofVolumes('main'))
const noDependencies = sdk.setupDependencies(async () => ({}))

export const init = sdk.setupInit(restoreInit, versionGraph, createToken, setInterfaces, noDependencies, actions)
export const uninit = sdk.setupUninit(versionGraph)
export const manifest = buildManifest(versionGraph, facts)
