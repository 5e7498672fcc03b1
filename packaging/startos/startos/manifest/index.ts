import { setupManifest } from '@start9labs/start-sdk'
import { release } from '../release'

export const manifest = setupManifest({
  id: 'bip324-proxy',
  title: 'bip324-proxy',
  license: 'MIT',
  packageRepo: release.homepage,
  upstreamRepo: release.homepage,
  marketingUrl: release.homepage,
  donationUrl: null,
  docsUrls: [`${release.homepage}/tree/main/docs`],
  description: {
    short: 'Encrypted (BIP324) peer connections for any Bitcoin program',
    long:
      'A SOCKS5 proxy that gives Bitcoin Core and any other Bitcoin program encrypted connections ' +
      'to their peers: BIP324, also called v2. Unlike Bitcoin Core it does not fall back to plaintext. ' +
      'Its page shows each connection, whether it is encrypted, and why one failed.',
  },
  volumes: ['main'],
  images: {
    'bip324-proxy': {
      source: { dockerTag: release.image },
      arch: ['x86_64', 'aarch64'],
    },
  },
  dependencies: {},
})
