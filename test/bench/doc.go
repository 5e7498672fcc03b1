// Command bench measures what the proxy costs, against the least that it could cost, in one run on one machine.
//
//	v1 client ──SOCKS5──▶ bip324-proxy, a process of its own ──v2──▶ node
//	   (here)             or the bare relay, likewise        ──v1──▶ (here)
//
// CPU time and memory are the process's own, read from the operating system: what client and node cost does not count.
// The limit of a scenario is what nobody can do without: the AEAD (one pass), the double SHA-256 of v1's checksum (one
// pass), each measured by itself on buffers of the same sizes, and a SOCKS relay that lets the kernel copy the same v1
// bytes. The table has every figure beside its limit, their ratio, and the target for it.
//
//	go -C test run ./bench              all scenarios, some minutes
//	go -C test run ./bench -quick       the same with little data, to see that they work
//	go -C test run ./bench -run blocks  those whose name has this in it
//	go -C test run ./bench -profile DIR leaves there where the proxy spent its time, for each scenario (Linux, with perf)
package main
