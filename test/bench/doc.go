// Command bench measures the cost of the proxy and compares it with the lowest possible cost, in one run on one host.
//
//	v1 client ──SOCKS5──▶ bip324-proxy, a separate process ──v2───▶ node
//	   (here)             or the bare relay, likewise       ──v1───▶ (here)
//	                      or the bare loop, likewise        ──v2───▶
//
// CPU time and memory are those of the measured process, as the operating system reports them; client and node do not
// count. The limit of a scenario is the unavoidable cost: the AEAD (one pass), the double SHA-256 of v1's checksum (one
// pass), each measured separately on buffers of the same sizes, and a SOCKS relay that passes on the same v1 bytes
// through one buffer for each direction, since a proxy that encrypts has to copy them from the kernel and back. Bytes
// that are not v1 are compared with a relay that lets the kernel copy them (splice).
//
// The bare loop does what the proxy does with messages, and nothing else: it reads, opens or seals, hashes and writes
// them, without deadlines, log or limits. The limit's parts are measured separately, with warm caches; the loop shows
// what they cost together.
//
// The proxy and each part of its limit are measured in turn, in five rounds or more. The table shows the median of the
// figure, of its limit and of each round's ratio of the two, each ± half the distance between its quartiles, and the
// target for the ratio. It says "moves" where the quartiles are 5 % or more of the median apart.
//
// The scenario under run has clients without a proxy setting, under `bip324-proxy run`, and compares them with one that
// speaks SOCKS.
//
// The library scenario measures programs instead, each a process of its own: with a bare net.Conn, with v1v2.Conn, with
// a net.Conn through the proxy, whose CPU time counts, too, and with btcd's v2transport. The programs alternate.
//
// The scenarios beside compare with other proxies, by their command lines: each round measures all in turn. A proxy
// without SOCKS takes the destination from the client's VERSION. The process must be the proxy itself, since the CPU
// time and memory of children do not count.
//
//	go -C test run ./bench              all scenarios but beside, inbound, under run and library; takes eight minutes
//	go -C test run ./bench -rounds 9    more rounds than 5
//	go -C test run ./bench -quick       little data, to check that the scenarios work
//	go -C test run ./bench -run blocks  scenarios whose name matches
//	go -C test run ./bench -profile DIR also writes the proxy's CPU profiles to DIR (Linux, with perf)
//	go -C test run ./bench -beside 'old=/tmp/old --listen {listen}'
//	go -C test run ./bench -beside-redirect 'other=/tmp/other --port {port} --network regtest' -run 'beside: inv'
package main
