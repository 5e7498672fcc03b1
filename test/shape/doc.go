// Command shape records what an eavesdropper sees of wallets behind the proxy, with and without traffic shaping, and
// attacks the recording. It prints the tables of docs/shape.md.
//
//	wallet ──v1, SOCKS5──▶ bip324-proxy ──▶ relay, +25 ms each way ──▶ node
//	 (here)                 --shape MODE     (here) records              Bitcoin Core or btcd
//
//	in a tunnel:            bip324-proxy ──▶ relay ──▶ bip324-proxy ──▶ node
//	                        --shape tunnel             --inbound, --shape LISTENER=tunnel
//
// All modes are recorded at the same time, with one node and one chain on loopback. The sessions of one mode and one kind
// of client are a cell; each cell has its own proxy, and each session its own relay. The wallets are scripts (wallet.go):
// they follow the headers, ask for the filter of each new block and for every fifth block, ping, and send transactions,
// whose sizes are those of sizes.txt. There are three kinds of clients: inv announces its transactions and takes no
// others, push sends them unannounced, and noisy is inv that also takes part in relay, with three transactions of others
// a second. The pace is faster than life: a block every 20 s, a transaction of each wallet every 25 s. Each block has 8,000
// outputs (-outputs), so that its filter is as large as on mainnet, about 20 kB: small filters would fit the cells of a
// tunnel, and hide in it when blocks come. Blocks have a quarter of mainnet's size. False bursts of a tunnel come as often
// for each block as on mainnet: every 20 s, not every 10 minutes.
//
// The recording begins 22 s after the last session has opened, so that the sync is not in it, and cover and tunnel have
// cells. It is a file of gzip'd lines of JSON, the first for all sessions, then one for each; times are in µs:
//
//	{"format": "bip324-proxy shape 1", "node": …, "rtt": 50000, "length": …, "cells": […], "sessions": 120}
//	{"id": 1, "mode": "pad", "client": "inv", "seed": 1, "length": …,
//	 "segments": [5368447, 1024, 26282, -58, …], "actions": [[5368170, "tx", 679, 2151268], …]}
//
// A segment is one read at the relay: two numbers, the time since the segment before and its bytes, which are negative
// from the node to the wallet. An attacker has only these. An action is what happened (see [Action]): the time since
// the action before, its kind, its size, and how long it took, or -1 if it had not ended with the recording. Cells hold
// the costs that segments do not show, times in ns.
//
// In Python:
//
//	lines = [json.loads(line) for line in gzip.open("recording.json.gz")]
//	for session in lines[1:]:
//	    numbers = session["segments"]
//	    times, sizes = list(itertools.accumulate(numbers[0::2])), numbers[1::2]
//
// The attackers (attack.go) were fixed before any recording was made: published rules, exact sizes, and random forests
// that learn from other sessions of the same mode.
//
//	go -C test run ./shape                   records and attacks, in ten minutes on two cores
//	go -C test run ./shape -record FILE      only records
//	go -C test run ./shape -attack FILE      only attacks
//	go -C test run ./shape -out DIRECTORY    also keeps the recording and the report
//
// The environment variable BITCOIND has the path of Bitcoin Core; without it the node is btcd, which is built.
package main
