package main

import (
	"crypto/rand"
	"slices"

	"bip324proxy/v1v2"
)

var magic = [4]byte{0xfa, 0xbf, 0xb5, 0xda} // regtest

// message is a message that a client or a node sends.
type message struct {
	name    string
	payload []byte
}

// traffic is a sequence of messages to send repeatedly.
type traffic []message

// random returns n messages of size bytes. Their contents do not matter to a proxy.
func random(n int, name string, size int) traffic {
	payload := make([]byte, size)
	rand.Read(payload)
	return slices.Repeat(traffic{{name, payload}}, n)
}

var (
	version = message{"version", make([]byte, 102)}
	invs    = random(1000, "inv", 37)
	blocks  = random(4, "block", 1_500_000)

	// A node that syncs receives 2,000 headers at a time, then blocks, requested sixteen at once, and some relay traffic
	// in between. Blocks before 2017 are smaller; the chain has as many of those.
	syncDown = slices.Concat(random(1, "headers", 162_003), random(8, "block", 1_500_000), random(4, "block", 600_000),
		random(4, "block", 80_000), random(8, "inv", 37), random(1, "addrv2", 20_000), random(1, "ping", 8))
	syncUp = slices.Concat(random(1, "getheaders", 1_000), random(1, "getdata", 577), random(1, "pong", 8))

	// A synced node, as its peer sees it: mostly transactions announced, requested and sent, some addresses, and now and
	// then a compact block with the transactions that the peer lacked.
	relayed = shuffled(slices.Concat(random(300, "inv", 37), random(100, "inv", 37*7), random(40, "inv", 37*35),
		random(150, "getdata", 37), random(40, "getdata", 37*5), random(180, "tx", 225), random(120, "tx", 370),
		random(30, "tx", 1_200), random(2, "tx", 20_000), random(20, "addrv2", 40), random(1, "addrv2", 18_000),
		random(4, "ping", 8), random(4, "pong", 8), random(6, "feefilter", 8), random(2, "cmpctblock", 18_000),
		random(1, "getblocktxn", 60), random(1, "blocktxn", 9_000), random(1, "headers", 82)))
)

// shuffled returns t in a random order that is the same in every run.
func shuffled(t traffic) traffic {
	for i := range t {
		j := i * 7919 % len(t)
		t[i], t[j] = t[j], t[i]
	}
	return t
}

// v1 returns t encoded as v1.
func (t traffic) v1() []byte {
	var b []byte
	for _, m := range t {
		b = v1v2.AppendMessage(b, magic, v1v2.TypeOf(m.name), m.payload)
	}
	return b
}

// contents returns t as the contents of v2 packets.
func (t traffic) contents() [][]byte {
	all := make([][]byte, len(t))
	for i, m := range t {
		all[i] = v1v2.AppendContents(nil, v1v2.TypeOf(m.name), m.payload)
	}
	return all
}

// bytes returns the size of t in v1.
func (t traffic) bytes() (n int) {
	for _, m := range t {
		n += v1v2.HeaderSize + len(m.payload)
	}
	return n
}
