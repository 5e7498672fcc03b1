// The light client of the tests: bcoin's SPV node with one peer and a SOCKS5 proxy. It prints a line of JSON for every
// block that becomes its tip, and ends at the height that it is given.
'use strict';

process.env.NODE_BACKEND = 'js'; // no compiled parts, so nothing to compile
process.env.BCOIN_NO_NATIVE = '1';

const {SPVNode} = require('bcoin');

const [proxy, peer, until] = process.argv.slice(2);
const node = new SPVNode({
  network: 'regtest', memory: true, proxy, only: [peer], maxOutbound: 1, httpPort: 0, logConsole: true, logLevel: 'info',
  logFile: false
});

node.on('connect', async ({height}, block) => {
  console.log(JSON.stringify({height, hash: block.rhash()}));
  if (height < Number(until))
    return;
  await node.close();
  process.exitCode = 0; // and nothing is left that keeps the program alive
});

(async () => {
  await node.open();
  await node.connect();
  node.startSync();
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
