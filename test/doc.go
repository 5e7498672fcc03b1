// Package test proves the proxy with programs that nobody wrote for it: it has no code to import, only tests to run.
//
//	client ──SOCKS5──▶ (recorder) ──▶ bip324-proxy ──▶ (recorder) ──▶ node
//	btcd, v1 or v2                    under test                      btcd, v1 or v2
//
// Both ends are btcd as its authors released it, at the version in go.mod, on a private chain and on loopback only.
// What happened is asked of the programs themselves, by RPC, and read from the proxy's log. A recorder is a TCP relay
// that keeps a copy of both directions: it shows what an observer of the wire would have seen.
//
// With BITCOIND=/path/to/bitcoind in the environment the same stories run with Bitcoin Core at both ends.
package test
