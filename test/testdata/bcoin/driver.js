// The light client of the tests: bcoin's SPV node with one peer and a SOCKS5 proxy, set by a flag or by
// bcoin.conf. It prints a line of JSON for every block that becomes its tip, and ends at the height of --until.
'use strict';

process.env.NODE_BACKEND = 'js'; // pure JavaScript, so nothing to compile
process.env.BCOIN_NO_NATIVE = '1';

const {SPVNode} = require('bcoin');

const node = new SPVNode({
  config: true, argv: true, network: 'regtest', memory: true, maxOutbound: 1, httpPort: 0, logConsole: true,
  logLevel: 'info', logFile: false
});

node.on('connect', async ({height}, block) => {
  console.log(JSON.stringify({height, hash: block.rhash()}));
  if (height < node.config.uint('until'))
    return;
  await node.close();
  process.exitCode = 0; // nothing else keeps the program alive
});

(async () => {
  await node.open();
  await node.connect();
  node.startSync();
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
