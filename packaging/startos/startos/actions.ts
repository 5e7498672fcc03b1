import { socks } from './interfaces'
import { sdk } from './sdk'

const showProxy = sdk.Action.withoutInput(
  'show-proxy',
  async () => ({
    name: 'Show the setting for Bitcoin',
    description: 'The line for bitcoin.conf that makes Bitcoin use this proxy',
    warning: null,
    allowedStatuses: 'any',
    group: null,
    visibility: 'enabled',
  }),
  async ({ effects }) => {
    const address = await sdk.host
      .getBridgeAddress(effects, { hostId: socks.hostId, internalPort: socks.port, fallbackPort: socks.port })
      .once()
    return {
      version: '1',
      title: 'Setting for Bitcoin',
      message: 'Add this line to bitcoin.conf and restart Bitcoin. The instructions say where that file is.',
      result: { type: 'single', value: `proxy=${address}`, copyable: true, qr: false, masked: false },
    }
  },
)

export const actions = sdk.Actions.of().addAction(showProxy)
