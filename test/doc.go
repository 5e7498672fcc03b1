// Package test proves the proxy with programs that nobody wrote for it: it has no code to import, only tests to run.
//
//	client ──SOCKS5──▶ (recorder) ──▶ bip324-proxy ──▶ (recorder) ──▶ node
//	any                               under test                      btcd or Core, v1 or v2
//
// Programs are taken as their authors released them, on a private chain and on loopback only. What happened is asked
// of the programs themselves, by RPC or on their output, and read from the proxy's log. A recorder is a TCP relay that
// keeps a copy of both directions: it shows what an observer of the wire would have seen.
//
// Where no program would do what must be survived, package hostile plays the client, the node, or both: one table entry
// breaks one rule of SOCKS5, v1 or BIP324 and says what the other end must observe. LONG=1 runs all of it.
//
// btcd and utreexod, at both ends, and neutrino, with lnd's dialer for Tor, are built from Go modules and always
// there. These
// clients are run if this machine has what they need:
//
//	bcoin         node, npm; fetched once
//	bitcoinj      java, javac, mvn; its jars are fetched once
//	kyoto         cargo; fetched and built once
//	bip324        cargo; the Rust crate that implements it, fetched and built once
//	Electrum      electrum in PATH, or its path in ELECTRUM
//	Chromium      chromium in PATH, or its path in CHROMIUM: web pages, which are no clients, and the status page
//	Bitcoin Core  the path of bitcoind in BITCOIND
//	Tor           tor in PATH, or its path in TOR: a private network of its own; strace to watch what leaves
//
// Downloads have exact versions, see testdata, and go to bip324-proxy-test in the user's cache. What
// was not run is listed at the end, with the reason, if go test is given no package (or -v).
package test
