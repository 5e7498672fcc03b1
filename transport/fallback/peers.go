package fallback

import (
	"cmp"
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
	// SpeaksUnknown means that the peer was never seen, or too long ago.
	SpeaksUnknown Speaks = iota
	// SpeaksV1 means that the peer answered in v1 after a v2 handshake failed.
	SpeaksV1
	// SpeaksV2 means that a v2 handshake with the peer succeeded.
	SpeaksV2
	// RefusedV2 means that the peer hung up on a client's own v2 handshake less than
	// a minute ago. It may be a v1 peer, be full, or be cut off by an attacker.
	RefusedV2
)

var speaksNames = map[Speaks]string{SpeaksUnknown: "unknown", SpeaksV1: "v1", SpeaksV2: "v2", RefusedV2: "refused v2"}

// String returns what the peer speaks in words.
func (s Speaks) String() string { return cmp.Or(speaksNames[s], fmt.Sprintf("speaks %d", int(s))) }

// lifetimes has how long a note counts. A v1 peer may be upgraded any day, a v2 peer has
// no reason to be downgraded. RefusedV2 is for a client that retries with v1: Bitcoin
// Core does after half a second.
var lifetimes = map[Speaks]time.Duration{SpeaksV1: 24 * time.Hour, SpeaksV2: 30 * 24 * time.Hour, RefusedV2: time.Minute}

const (
	// maxPeers limits the v2 notes, and the v1 notes. A note takes about 300 bytes.
	maxPeers = 10_000

	// maxRefused limits the RefusedV2 notes.
	maxRefused = 1_000
)

// Peers knows which peers speak v1 or v2, so that an attacker who cuts connections
// cannot downgrade a v2 peer, and v1 peers are not tried in v2 each time. A peer is an
// address or a name, with a port, in any spelling (see CanonicalAddr).
//
// There is room for 10,000 v2 notes, 10,000 v1 notes and 1,000 RefusedV2 notes. They
// are kept apart, so that an attacker who cuts many connections cannot evict a v2 note:
// only a peer that proves v2 does, and it evicts an expired note or the least recently
// used.
//
// The zero value is empty and has no file; see OpenPeers. A nil *Peers knows nothing.
// Peers is safe for concurrent use.
type Peers struct {
	// SaveFailed is called, without a lock held, when saving the file fails, unless it
	// failed the time before, too. The notes are kept and saving is tried again. Set
	// it before the first note.
	SaveFailed func(error)

	mu      sync.Mutex
	v2      notes
	v1      notes
	refused notes
	file    *peersFile // nil without a file

	skew time.Duration // of the wall clock, in tests
}

// Lookup returns what is known of addr, "host:port". It counts as a use of the note,
// which defers its eviction. It does not wait for the disk.
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

// Note records what addr, "host:port", speaks: SpeaksV2 for 30 days, SpeaksV1 for a
// day, unless it is known to speak v2, and RefusedV2 for a minute and not in the file.
func (p *Peers) Note(addr string, speaks Speaks) {
	if p == nil {
		return
	}
	key := CanonicalAddr(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	note := &peerNote{key: key, speaks: speaks, until: now.up.Add(lifetimes[speaks]), date: now.wall.Add(lifetimes[speaks])}
	if p.add(note, now) {
		p.saveSoon()
	}
}

// add adds note and reports whether the file changes. p.mu is held.
func (p *Peers) add(note *peerNote, now clocks) bool {
	switch note.speaks {
	case SpeaksV2:
		p.v1.remove(note.key)
		p.refused.remove(note.key)
		p.v2.put(note, maxPeers, now)
		return true
	case SpeaksV1:
		if p.v2.use(note.key, now) != nil {
			return false
		}
		p.v1.put(note, maxPeers, now)
		return true
	case RefusedV2:
		p.refused.put(note, maxRefused, now)
	}
	return false
}

// PeerCounts counts the notes that have not expired.
type PeerCounts struct {
	V2        int `json:"v2"`
	V1        int `json:"v1"`
	RefusedV2 int `json:"refused_v2"` // within the last minute

	// Distrusted is how many of V2 are from the file and count although by the wall clock
	// they have expired, or expire too late: the clock is wrong, or was when they were
	// made, or the proxy has not run since. They count for a week of running time.
	Distrusted int `json:"-"`
}

// Count counts the notes.
func (p *Peers) Count() (c PeerCounts) {
	if p == nil {
		return c
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	v2 := p.v2.all(now)
	for _, note := range v2 {
		if note.distrusted(now) {
			c.Distrusted++
		}
	}
	c.V2, c.V1, c.RefusedV2 = len(v2), len(p.v1.all(now)), len(p.refused.all(now))
	return c
}

// CanonicalAddr returns the spelling of addr, "host:port", by which peers are compared:
// a name in lower case without a dot at the end, an onion service without subdomains,
// an address as netip prints it, IPv4 instead of IPv4-mapped, the port as a plain
// number. It treats what has no port as a name.
func CanonicalAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.ToLower(strings.TrimRight(addr, "."))
	}
	bare := strings.TrimRight(host, ".")
	host = strings.ToLower(bare)
	if ip, err := netip.ParseAddr(bare); err == nil { // not of host, for a zone may have capitals
		host = ip.Unmap().String()
	} else if service, ok := strings.CutSuffix(host, ".onion"); ok {
		host = service[strings.LastIndexByte(service, '.')+1:] + ".onion"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		port = strconv.FormatUint(n, 10)
	}
	return net.JoinHostPort(host, port)
}
