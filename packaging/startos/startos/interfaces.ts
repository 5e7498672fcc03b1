import { sdk } from './sdk'
import { readToken } from './token'

export const socks = { hostId: 'socks', port: 1324 }
export const statusPort = 1325

export const setInterfaces = sdk.setupInterfaces(async ({ effects }) => {
  // Without an interface, other services can reach this port, but other machines cannot.
  await sdk.MultiHost.of(effects, socks.hostId).bindPort(socks.port, {
    protocol: null,
    preferredExternalPort: socks.port,
    addSsl: null,
    secure: { ssl: false },
  })

  const origin = await sdk.MultiHost.of(effects, 'status').bindPort(statusPort, { protocol: 'http' })
  const status = sdk.createInterface(effects, {
    name: 'Status page',
    id: 'status',
    description: 'Shows each connection, whether it is encrypted, and why one failed',
    type: 'ui',
    masked: true, // the address has the token
    schemeOverride: null,
    username: null,
    path: '',
    query: { token: await readToken() },
  })
  return [await origin.export([status])]
})
