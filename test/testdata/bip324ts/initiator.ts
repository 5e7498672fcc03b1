// Many v2 sessions, one after the other, with the TypeScript library bip324, whose source is in src. Each sends garbage of
// another length, up to the maximum, and a packet with the given contents; then it echoes the packets that it gets, until
// the other end hangs up.

import {decodePacket, encodePacket, hexToBytes, Networks, performHandshake} from './src/index.ts';
import {connectNodeTcp} from './src/node.ts';

const maxGarbage = 4095;
const [sessions, packets, host, port, first] = process.argv.slice(2);

for (let i = 0; i < Number(sessions); i++) {
  const duplex = await connectNodeTcp({host, port: Number(port)});
  const garbage = new Uint8Array(Math.floor(i * maxGarbage / (Number(sessions) - 1))).fill(i);
  const result = await performHandshake(duplex, {role: 'initiator', network: Networks.mainnet, garbage});
  if (result.transport !== 'v2')
    throw new Error(`session ${i}: ${result.transport}`);
  await duplex.write(encodePacket(result.session, hexToBytes(first)));
  for (let n = 0; n < Number(packets); n++)
    await duplex.write(encodePacket(result.session, await decodePacket(result.session, duplex)));
  const more = await duplex.read(1);
  if (more.length > 0)
    throw new Error(`session ${i}: more than ${packets} packets`);
  await duplex.close();
}
