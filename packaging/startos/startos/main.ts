import { lchown, mkdir, readdir, writeFile } from 'node:fs/promises'
import { socks, statusPort } from './interfaces'
import { sdk } from './sdk'
import { tokenPath } from './token'

const uid = 65532 // the image's user

export const main = sdk.setupMain(async ({ effects }) => {
  const volume = sdk.volumes.main
  for (const name of ['', ...(await readdir(volume.path))]) {
    await lchown(volume.subpath(name), uid, uid) // what the service has made there may be a symlink
  }

  const subcontainer = await sdk.SubContainer.eager(
    effects,
    { imageId: 'bip324-proxy' },
    sdk.Mounts.of().mountVolume({ volumeId: 'main', subpath: null, mountpoint: '/state', readonly: false }),
    'bip324-proxy',
  )
  // StartOS looks up users in these files, which the image does not have.
  await mkdir(`${subcontainer.rootfs}/etc`, { recursive: true })
  await writeFile(`${subcontainer.rootfs}/etc/passwd`, `bip324-proxy:x:${uid}:${uid}::/state:/\n`)
  await writeFile(`${subcontainer.rootfs}/etc/group`, `bip324-proxy:x:${uid}:\n`)

  // Services connect from their own addresses on the bridge, or from the bridge's.
  const bridge = await sdk.getOsIp(effects)
  const services = bridge.replace(/\d+$/, '0/24')

  return sdk.Daemons.of(effects).addDaemon('bip324-proxy', {
    subcontainer,
    exec: {
      command: [
        '/bip324-proxy',
        `--listen=0.0.0.0:${socks.port}`,
        `--clients=${services}`,
        `--clients=${bridge}`,
        `--status=0.0.0.0:${statusPort}`,
        `--status-token-file=${tokenPath}`,
        '--known-peers=/state/peers',
      ],
      user: `${uid}:${uid}`,
    },
    ready: {
      display: 'SOCKS5 proxy',
      fn: () =>
        sdk.healthCheck.checkPortListening(effects, socks.port, {
          successMessage: 'The proxy accepts connections',
          errorMessage: 'The proxy does not accept connections',
        }),
    },
    requires: [],
  })
})
