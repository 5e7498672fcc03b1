// Package test tests the proxy with real Bitcoin programs. It exports nothing.
//
//	client ──SOCKS5──▶ (recorder) ──▶ bip324-proxy ──▶ (recorder) ──▶ node
//	any                               under test                      btcd or Core, v1 or v2
//
// The programs are official releases, on a private chain and on loopback only. The tests ask the programs themselves
// what happened, by RPC or from their output, and read the proxy's log. A recorder is a TCP relay that keeps a copy of
// both directions: the view of an eavesdropper.
//
// For misbehaviour that no program offers, package hostile plays the client, the node, or both: one table entry breaks
// one rule of SOCKS5, v1 or BIP324 and states what the other end must observe. LONG=1 runs every case.
//
// Under `bip324-proxy run`, clients without a proxy setting reach nodes with public addresses, in namespaces that play
// the internet: btcd, small ones in C and Python, by gcc and /usr/bin/python3, and those below.
//
// btcd, at both ends, is built from its Go module for every run. Tests with other programs run with -programs, or by
// name with -run: utreexod and neutrino, with lnd's dialer for Tor, are built from Go modules, and the others run if
// their requirements are installed:
//
//	bcoin         node, npm; downloaded once
//	bitcoinj      java, javac, mvn; its jars are downloaded once
//	kyoto         cargo; downloaded and built once
//	nakamoto      cargo; downloaded and built once
//	bip324        cargo; the Rust crate, downloaded and built once
//	bip324ts      node, npm, and the path of the TypeScript library's repository in BIP324_TS
//	Electrum      electrum in PATH, or its path in ELECTRUM
//	Chromium      chromium in PATH, or its path in CHROMIUM: web pages, which the proxy must refuse, and the status page
//	axe-core      npm; downloaded once
//	Bitcoin Core  the path of bitcoind in BITCOIND
//	gocoin        the path of the program, built by go build ./client, in GOCOIN
//	Tor           tor in PATH, or its path in TOR: a private network; strace to record its traffic
//
// Downloads have exact versions, see testdata, and are kept, with what is built from them, in bip324-proxy-test in the
// user's cache; Go modules are in Go's. -clean removes the former, and what killed runs left. Why tests were skipped is
// listed at the end if go test is given no package (or -v).
package test
