// Package announce sets the service bit NODE_P2P_V2 (BIP324) where a node describes itself: if
// a proxy speaks v2 for it, peers would otherwise not try v2. Nothing else of a message
// changes.
package announce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"bip324proxy/v1v2"
)

// Addresses are those at which the proxy speaks v2 for the node. If there are none, nothing is
// altered.
type Addresses []netip.AddrPort

// Parse parses addresses, each IP:PORT.
func Parse(list []string) (Addresses, error) {
	var all Addresses
	for _, text := range list {
		addr, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%q is invalid: %w; write the address and port where peers reach the node, such as 203.0.113.7:8333", text, err)
		}
		if !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all, nil
}

func parse(text string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(text)
	ip := addr.Addr().Unmap()
	switch {
	case err != nil:
		return addr, errors.New("not an IP address and a port")
	case ip.Zone() != "":
		return addr, errors.New("a zone is valid on this machine only")
	case ip.IsUnspecified(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return addr, fmt.Errorf("%v is not a unicast address", ip)
	case addr.Port() == 0:
		return addr, errors.New("port 0 is invalid")
	}
	return netip.AddrPortFrom(ip, addr.Port()), nil
}

// The services (BIP159, BIP324) that matter here.
const (
	network        = 1 << 0
	networkLimited = 1 << 10
	p2pV2          = 1 << 11
)

// announced returns services with NODE_P2P_V2, if they are those of a node that serves
// blocks: peers do not seek others, and a program with no services wants to blend in.
func announced(services uint64) uint64 {
	if services&(network|networkLimited) == 0 {
		return services
	}
	return services | p2pV2
}

var (
	version = v1v2.TypeOf("version")
	addr    = v1v2.TypeOf("addr")
	addrV2  = v1v2.TypeOf("addrv2")
)

const (
	// maxEntries is Bitcoin Core's MAX_ADDR_TO_SEND.
	maxEntries = 1000

	// maxAddress is the largest address of ADDRV2 (BIP155), in bytes.
	maxAddress = 512

	// maxPayload is the size of the largest valid ADDRV2, in bytes. Only a message of at
	// most this size is altered.
	maxPayload = 3 + maxEntries*(4+9+1+3+maxAddress+2)
)

// Concerns reports whether Alter may alter a message of that type and size, in bytes.
func (a Addresses) Concerns(t v1v2.Type, size int) bool {
	return len(a) > 0 && size <= maxPayload && (t == version || t == addr || t == addrV2)
}

// Alter returns an altered copy of a message's payload, or nil if it stays as it is. The copy
// has NODE_P2P_V2 in both fields of VERSION with the node's services, and in the entries of
// ADDR and ADDRV2 for these addresses, where the services are those of a node that serves
// blocks. Nothing is altered from the first invalid entry on.
func (a Addresses) Alter(t v1v2.Type, payload []byte) []byte {
	if !a.Concerns(t, len(payload)) {
		return nil
	}
	switch t {
	case version:
		return alterVersion(payload)
	case addr:
		return a.alterAddr(payload)
	}
	return a.alterAddrV2(payload)
}

// A copy of a payload is made when the first byte of it changes.
type copied struct {
	of, to []byte
}

// setFixed sets services of eight bytes that are at offset at.
func (c *copied) setFixed(at int) {
	old := binary.LittleEndian.Uint64(c.of[at:])
	if services := announced(old); services != old {
		if c.to == nil {
			c.to = slices.Clone(c.of)
		}
		binary.LittleEndian.PutUint64(c.to[at:], services)
	}
}

// alterVersion alters VERSION: the services after the version, and those in addr_from, which
// Bitcoin Core fills alike.
func alterVersion(payload []byte) []byte {
	const services, from = 4, 4 + 8 + 8 + 26
	c := copied{of: payload}
	for _, at := range [...]int{services, from} {
		if len(payload) >= at+8 {
			c.setFixed(at)
		}
	}
	return c.to
}

// alterAddr alters ADDR: entries of time, services, IPv6 or mapped IPv4 address, and port.
func (a Addresses) alterAddr(payload []byte) []byte {
	const services, ip, port, size = 4, 4 + 8, 4 + 8 + 16, 4 + 8 + 16 + 2
	count, rest, ok := cutCompactSize(payload)
	if !ok || count > maxEntries {
		return nil
	}
	c := copied{of: payload}
	for ; count > 0 && len(rest) >= size; count-- {
		if a.contain(netip.AddrFrom16([16]byte(rest[ip:])).Unmap(), rest[port:]) {
			c.setFixed(len(payload) - len(rest) + services)
		}
		rest = rest[size:]
	}
	return c.to
}

// alterAddrV2 alters ADDRV2 (BIP155), where larger services may take more bytes.
func (a Addresses) alterAddrV2(payload []byte) []byte {
	count, rest, ok := cutCompactSize(payload)
	if !ok || count > maxEntries {
		return nil
	}
	var altered []byte
	done := 0 // how many bytes of payload altered stands for
	for ; count > 0; count-- {
		e, after, ok := cutEntry(rest)
		if !ok {
			break
		}
		services := announced(e.services)
		if services != e.services && a.contain(e.ip, e.port) {
			from := len(payload) - len(rest) + len(entryTime{})
			altered = append(altered, payload[done:from]...)
			altered = appendCompactSize(altered, services)
			done = from + e.servicesSize
		}
		rest = after
	}
	if altered == nil {
		return nil
	}
	return append(altered, payload[done:]...)
}

// contain reports whether the address is one of a; port is big-endian.
func (a Addresses) contain(ip netip.Addr, port []byte) bool {
	return slices.Contains(a, netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port)))
}

type entryTime [4]byte

// entry is an entry of ADDRV2.
type entry struct {
	services     uint64
	servicesSize int        // in the message, in bytes
	ip           netip.Addr // invalid if the address is of Tor or another network
	port         []byte
}

// cutEntry returns the entry that b begins with, and what follows it.
func cutEntry(b []byte) (e entry, rest []byte, ok bool) {
	const ipv4, ipv6 = 1, 2
	if len(b) < len(entryTime{}) {
		return e, nil, false
	}
	b = b[len(entryTime{}):]
	e.services, rest, ok = cutCompactSize(b)
	if !ok || len(rest) == 0 {
		return e, nil, false
	}
	e.servicesSize = len(b) - len(rest)
	network := rest[0]
	size, rest, ok := cutCompactSize(rest[1:])
	if !ok || size > maxAddress || len(rest) < int(size)+2 {
		return e, nil, false
	}
	if network == ipv4 && size != 4 || network == ipv6 && size != 16 {
		return e, nil, false
	}
	if network == ipv4 || network == ipv6 {
		e.ip, _ = netip.AddrFromSlice(rest[:size])
	}
	e.port, rest = rest[size:size+2], rest[size+2:]
	return e, rest, true
}

// cutCompactSize returns the CompactSize that b begins with, and what follows it. One that
// takes more bytes than necessary is invalid, as in Bitcoin Core.
func cutCompactSize(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	if b[0] < 0xfd {
		return uint64(b[0]), b[1:], true
	}
	longer := b[0] - 0xfd
	end := 1 + 2<<longer
	if len(b) < end {
		return 0, nil, false
	}
	var full [8]byte
	copy(full[:], b[1:end])
	n = binary.LittleEndian.Uint64(full[:])
	return n, b[end:], n >= [...]uint64{0xfd, 1 << 16, 1 << 32}[longer]
}

func appendCompactSize(b []byte, n uint64) []byte {
	switch {
	case n < 0xfd:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.LittleEndian.AppendUint16(append(b, 0xfd), uint16(n))
	case n < 1<<32:
		return binary.LittleEndian.AppendUint32(append(b, 0xfe), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xff), n)
}
