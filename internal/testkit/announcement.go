package testkit

import (
	"encoding/binary"
	mrand "math/rand/v2"
	"net/netip"
)

// Announcement returns a random message of the types that may tell a node's services, or of
// another, and what it must be once v2 is announced for the addresses own: made without the
// code under test, entry by entry. Some messages are invalid from some point on.
func Announcement(random *mrand.Rand, own []netip.AddrPort) (name string, payload, announced []byte) {
	g := generator{random, own, nil, nil}
	switch random.IntN(8) {
	case 0:
		name = "version"
		g.version()
	case 1, 2:
		name = "addr"
		g.addr()
	case 3, 4, 5:
		name = "addrv2"
		g.addrV2()
	default:
		name = []string{"inv", "tx", "getaddr", "addrv3", "sendaddrv2", "versio"}[random.IntN(6)]
		g.same(g.bytes(random.IntN(300)))
	}
	return name, g.before, g.after
}

// generator appends to the message as it is and as it must become.
type generator struct {
	*mrand.Rand
	own           []netip.AddrPort
	before, after []byte
}

func (g *generator) same(b []byte) { g.differ(b, b) }

func (g *generator) differ(before, after []byte) {
	g.before, g.after = append(g.before, before...), append(g.after, after...)
}

func (g *generator) bytes(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, g.Uint64())
	}
	return b[:n:n]
}

// services returns services, and whether they are a node's that serves blocks.
func (g *generator) services() (services uint64, serves bool) {
	switch g.IntN(4) {
	case 0:
		return 0, false
	case 1:
		services = g.Uint64()
	case 2:
		services = g.Uint64() & 0xff
	case 3:
		services = 0x409
	}
	return services, services&1 != 0 || services&0x400 != 0
}

const v2Bit = 0x800

func fixed(services uint64) []byte { return binary.LittleEndian.AppendUint64(nil, services) }

func (g *generator) version() {
	g.same(g.bytes(4))
	for range 2 { // once with the time and addr_recv after it
		services, serves := g.services()
		if serves {
			g.differ(fixed(services), fixed(services|v2Bit))
		} else {
			g.same(fixed(services))
		}
		g.same(g.bytes(8 + 26))
	}
	g.same(g.bytes(g.IntN(40)))
	if g.IntN(4) == 0 { // cut, perhaps within services
		n := g.IntN(len(g.before) + 1)
		if n >= 12 {
			g.before, g.after = g.before[:n], g.after[:n]
		}
		if n > 46 && n < 54 { // these are not all there
			copy(g.after[46:], g.before[46:])
		}
	}
}

// address returns an address and a port, big-endian, and whether they are among own.
func (g *generator) address() (ip netip.Addr, port []byte, isOwn bool) {
	at := g.own[g.IntN(len(g.own))]
	ip, number := at.Addr(), at.Port()
	switch g.IntN(3) {
	case 0:
		return ip, binary.BigEndian.AppendUint16(nil, number), true
	case 1: // another port
		return ip, binary.BigEndian.AppendUint16(nil, number^uint16(1<<g.IntN(16))), false
	}
	other := ip.AsSlice()
	other[g.IntN(len(other))] ^= 1
	ip, _ = netip.AddrFromSlice(other)
	return ip, binary.BigEndian.AppendUint16(nil, number), false
}

// compactSize returns n as a CompactSize.
func compactSize(n uint64) []byte {
	switch b := fixed(n); {
	case n < 253:
		return b[:1]
	case n <= 0xffff:
		return append([]byte{253}, b[:2]...)
	case n <= 0xffff_ffff:
		return append([]byte{254}, b[:4]...)
	default:
		return append([]byte{255}, b...)
	}
}

// entries returns how many entries a message has.
func (g *generator) entries() int {
	if g.IntN(500) == 0 {
		return 900 + g.IntN(101)
	}
	return g.IntN(5)
}

func (g *generator) addr() {
	n := g.entries()
	g.same(compactSize(uint64(n)))
	for range n {
		ip, port, isOwn := g.address()
		services, serves := g.services()
		as16 := ip.As16()
		g.same(g.bytes(4))
		if isOwn && serves {
			g.differ(fixed(services), fixed(services|v2Bit))
		} else {
			g.same(fixed(services))
		}
		g.same(append(as16[:], port...))
	}
	g.end()
}

func (g *generator) addrV2() {
	n := g.entries()
	bad := -1 // the entry from which the message is invalid
	if g.IntN(4) == 0 {
		bad = g.IntN(n + 1)
	}
	g.same(compactSize(uint64(n)))
	for i := range n {
		ip, port, isOwn := g.address()
		services, serves := g.services()
		network, address := byte(1), ip.AsSlice()
		if ip.Is6() {
			network = 2
		}
		if g.IntN(3) == 0 { // Tor or something new, with whatever is in it
			network, address, isOwn = byte(3+g.IntN(250)), append(address, g.bytes(g.IntN(496))...), false
		}
		size := compactSize(uint64(len(address)))
		before := compactSize(services)
		if i == bad {
			switch serves = false; g.IntN(4) {
			case 0:
				before = append([]byte{255}, fixed(services&0xffff_ffff)...) // not canonical
			case 1:
				size = append([]byte{253}, byte(len(address)), 0) // not canonical, if not long
				address = address[:min(len(address), 252)]
				size[1] = byte(len(address))
			case 2:
				size = compactSize(513)
				address = g.bytes(513)
			case 3:
				network, size, address = 1, compactSize(5), g.bytes(5)
			}
		}
		g.same(g.bytes(4))
		if isOwn && serves && (bad < 0 || i < bad) {
			g.differ(before, compactSize(services|v2Bit))
		} else {
			g.same(before)
		}
		g.same([]byte{network})
		g.same(size)
		g.same(address)
		g.same(port)
	}
	g.end()
}

// end appends what is too much, as a rule nothing.
func (g *generator) end() {
	if g.IntN(8) == 0 {
		g.same(g.bytes(g.IntN(60)))
	}
}
