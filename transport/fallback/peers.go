package fallback

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Speaks is what is known of a peer.
type Speaks int

const (
	// SpeaksUnknown: the peer was never seen, or so long ago that it does not
	// count.
	SpeaksUnknown Speaks = iota
	// SpeaksV1: the peer refused v2 and then answered in v1.
	SpeaksV1
	// SpeaksV2: a v2 handshake with the peer succeeded.
	SpeaksV2
	// RefusedV2: nothing is known of the peer but that it hung up on a v2
	// handshake of somebody else's a moment ago. It may be a v1 peer, be full,
	// or have an attacker in front of it.
	RefusedV2
)

func (s Speaks) String() string {
	switch s {
	case SpeaksUnknown:
		return "unknown"
	case SpeaksV1:
		return "v1"
	case SpeaksV2:
		return "v2"
	case RefusedV2:
		return "refused v2"
	}
	return fmt.Sprintf("speaks %d", int(s))
}

// lifetime is how long a note counts. A v1 peer may be upgraded any day. A v2
// peer has no reason to go back. A refusal is for the client that, refused,
// comes back with v1: Bitcoin Core does after half a second.
func (s Speaks) lifetime() time.Duration {
	switch s {
	case SpeaksV1:
		return 24 * time.Hour
	case SpeaksV2:
		return 30 * 24 * time.Hour
	case RefusedV2:
		return time.Minute
	}
	return 0
}

const (
	// maxPeers bounds the v2 notes, and the v1 notes; one costs about 300 bytes.
	maxPeers = 10_000

	// maxRefused bounds the refusals.
	maxRefused = 1_000
)

// Peers remembers which peers speak what, so that no attacker can downgrade a v2
// peer to v1 by cutting its connections, and no v1 peer is bothered with v2
// every time. A peer is an address or a name with a port, in whatever spelling
// (see CanonicalAddr). Peers holds 10,000 v2 notes, 10,000 v1 notes and 1,000
// refusals, kept apart: only a peer that proves v2 can evict a v2 note, and it
// evicts an expired one or the one used longest ago. Its zero value is empty and
// ready, and ends with the process; OpenPeers returns one with a file. A nil
// *Peers remembers nothing. It is safe for concurrent use.
type Peers struct {
	// SaveFailed is called when the file could not be written, unless the time
	// before was already a failure. The notes are still in memory and the file
	// is as it was; the next note, or Close, leads to another attempt. Set it
	// before the first note. It is called with nothing locked.
	SaveFailed func(error)

	mu      sync.Mutex
	v2      notes
	v1      notes
	refused notes
	file    *peersFile // nil if there is none

	skew time.Duration // of the wall clock, in tests
}

// Lookup returns what is known of addr, "host:port". It does not wait for the
// disk. To be looked up is a use: it keeps a note from being evicted.
func (p *Peers) Lookup(addr string) Speaks {
	if p == nil {
		return SpeaksUnknown
	}
	key := CanonicalAddr(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, known := range []*notes{&p.v2, &p.v1, &p.refused} {
		if note := known.use(key, now); note != nil {
			return note.speaks
		}
	}
	return SpeaksUnknown
}

// Note records what addr speaks: SpeaksV1 for a day, SpeaksV2 for 30 days,
// RefusedV2 for a minute and never in the file. A peer that is known to speak v2
// is not noted as v1.
func (p *Peers) Note(addr string, speaks Speaks) {
	if p == nil {
		return
	}
	key := CanonicalAddr(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	note := &peerNote{key: key, speaks: speaks, until: now.up.Add(speaks.lifetime())}
	switch speaks {
	case SpeaksV2:
		p.v1.remove(key)
		p.refused.remove(key)
		p.v2.put(note, maxPeers, now)
	case SpeaksV1:
		if p.v2.use(key, now) != nil {
			return
		}
		note.date = now.wall.Add(speaks.lifetime())
		p.v1.put(note, maxPeers, now)
	case RefusedV2:
		p.refused.put(note, maxRefused, now)
		return
	default:
		return
	}
	p.saveSoon()
}

// PeerCounts are how many peers a memory knows something of.
type PeerCounts struct {
	V2        int // SpeaksV2
	V1        int // SpeaksV1
	RefusedV2 int
}

// Count returns how many notes there are that still count.
func (p *Peers) Count() (c PeerCounts) {
	if p == nil {
		return c
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	return PeerCounts{V2: len(p.v2.all(now)), V1: len(p.v1.all(now)), RefusedV2: len(p.refused.all(now))}
}

// CanonicalAddr returns the one spelling of addr, "host:port", by which peers are
// compared: names in lower case without a dot at the end, addresses as netip
// prints them, IPv4 instead of IPv4-mapped, ports as plain numbers. Of an onion
// service's subdomains, which all lead to the service, nothing is left. What has
// no port is treated as a name.
func CanonicalAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.ToLower(strings.TrimRight(addr, "."))
	}
	bare := strings.TrimRight(host, ".")
	host = strings.ToLower(bare)
	if ip, err := netip.ParseAddr(bare); err == nil { // whose zone may have capitals
		host = ip.Unmap().String()
	} else if service, ok := strings.CutSuffix(host, ".onion"); ok {
		host = service[strings.LastIndexByte(service, '.')+1:] + ".onion"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		port = strconv.FormatUint(n, 10)
	}
	return net.JoinHostPort(host, port)
}
