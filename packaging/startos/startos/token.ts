import { randomBytes } from 'node:crypto'
import { sdk } from './sdk'

const file = 'status-token'
export const tokenPath = `/state/${file}`

/** Creates the status page's token once, at installation. */
export const createToken = sdk.setupOnInit(async () => {
  try {
    await sdk.volumes.main.writeFile(file, randomBytes(16).toString('hex') + '\n', { flag: 'wx', mode: 0o600 })
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err
  }
})

export const readToken = async () => String(await sdk.volumes.main.readFile(file)).trim()
