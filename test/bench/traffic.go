package main

import (
	"crypto/rand"
	"slices"

	"bip324proxy/v1v2"
)

var magic = [4]byte{0xfa, 0xbf, 0xb5, 0xda} // regtest

// message is one that a client or a node sends.
type message struct {
	name    string
	payload []byte
}

// traffic is a sequence of messages, to be sent again and again.
type traffic []message

// random returns n messages of size bytes. What is in them does not matter to a proxy.
func random(n int, name string, size int) traffic {
	payload := make([]byte, size)
	rand.Read(payload)
	return slices.Repeat(traffic{{name, payload}}, n)
}

var (
	version = message{"version", make([]byte, 102)}
	invs    = random(1000, "inv", 37)
	blocks  = random(4, "block", 1_500_000)

	// A node that syncs is sent 2,000 headers at a time, then blocks, sixteen asked for at once, while a bit of relay
	// goes on. Until 2017 blocks were smaller, and the chain has as many of those.
	syncDown = slices.Concat(random(1, "headers", 162_003), random(8, "block", 1_500_000), random(4, "block", 600_000),
		random(4, "block", 80_000), random(8, "inv", 37), random(1, "addrv2", 20_000), random(1, "ping", 8))
	syncUp = slices.Concat(random(1, "getheaders", 1_000), random(1, "getdata", 577), random(1, "pong", 8))

	// A node in step with the network, as a peer sees it: mostly transactions announced, asked for and sent, some
	// addresses, a block now and then as a compact block with what the peer lacked.
	relayed = shuffled(slices.Concat(random(300, "inv", 37), random(100, "inv", 37*7), random(40, "inv", 37*35),
		random(150, "getdata", 37), random(40, "getdata", 37*5), random(180, "tx", 225), random(120, "tx", 370),
		random(30, "tx", 1_200), random(2, "tx", 20_000), random(20, "addrv2", 40), random(1, "addrv2", 18_000),
		random(4, "ping", 8), random(4, "pong", 8), random(6, "feefilter", 8), random(2, "cmpctblock", 18_000),
		random(1, "getblocktxn", 60), random(1, "blocktxn", 9_000), random(1, "headers", 82)))
)

// shuffled mixes t, in the same way in every run.
func shuffled(t traffic) traffic {
	for i := range t {
		j := i * 7919 % len(t)
		t[i], t[j] = t[j], t[i]
	}
	return t
}

// v1 returns t as v1 has it.
func (t traffic) v1() []byte {
	var b []byte
	for _, m := range t {
		b = v1v2.AppendMessage(b, magic, v1v2.TypeOf(m.name), m.payload)
	}
	return b
}

// contents returns t as the contents of v2's packets.
func (t traffic) contents() [][]byte {
	all := make([][]byte, len(t))
	for i, m := range t {
		all[i] = v1v2.AppendContents(nil, v1v2.TypeOf(m.name), m.payload)
	}
	return all
}

// bytes is the size of t in v1.
func (t traffic) bytes() (n int) {
	for _, m := range t {
		n += v1v2.HeaderSize + len(m.payload)
	}
	return n
}
