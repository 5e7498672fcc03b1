import { IMPOSSIBLE, VersionGraph, VersionInfo } from '@start9labs/start-sdk'
import { release } from './release'

export const versionGraph = VersionGraph.of({
  current: VersionInfo.of({
    version: release.version,
    releaseNotes: { en_US: 'CHANGELOG.md lists what is new.' },
    migrations: { up: async () => {}, down: IMPOSSIBLE },
  }),
  other: [],
})
