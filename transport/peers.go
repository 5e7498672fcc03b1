package transport

import (
	"container/list"
	"fmt"
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
	// maxPeers bounds a memory; one entry costs about 200 bytes.
	maxPeers = 10_000

	// maxRefused bounds the refusals, which have a room of their own: who has
	// many connections cut must not push out what was proven.
	maxRefused = 1_000
)

// Peers remembers which peers speak what, so that no one can talk a v2 peer
// down to v1 by cutting its connections, and no v1 peer is bothered with v2
// every time. It holds the 10,000 noted last. Its zero value is empty and ready,
// and ends with the process; OpenPeers returns one with a file. A nil *Peers
// remembers nothing. It is safe for concurrent use.
type Peers struct {
	// SaveFailed is called when the file could not be written, unless the time
	// before was already a failure. The notes are still in memory and the file
	// is as it was; the next note, or Close, leads to another attempt. Set it
	// before the first note. It is called with nothing locked.
	SaveFailed func(error)

	mu      sync.Mutex
	known   notes      // SpeaksV1 and SpeaksV2
	refused notes      // RefusedV2
	file    *peersFile // nil if there is none
}

// Lookup returns what is known of addr, "host:port". It changes nothing and
// does not wait for the disk.
func (p *Peers) Lookup(addr string) Speaks {
	if p == nil {
		return SpeaksUnknown
	}
	addr = strings.ToLower(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	if speaks := p.known.lookup(addr); speaks != SpeaksUnknown {
		return speaks
	}
	return p.refused.lookup(addr)
}

// Note records what addr speaks: SpeaksV1 for a day, SpeaksV2 for 30 days,
// RefusedV2 for a minute and never in the file. A peer that is known to speak v2
// is not noted as v1.
func (p *Peers) Note(addr string, speaks Speaks) {
	if p == nil {
		return
	}
	note := peerNote{addr: strings.ToLower(addr), speaks: speaks, until: time.Now().Add(speaks.lifetime())}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch speaks {
	case SpeaksV1, SpeaksV2:
		p.know(note)
		p.saveSoon()
	case RefusedV2:
		p.refused.put(note, maxRefused)
	}
}

// PeerCounts are how many peers a memory knows something of.
type PeerCounts struct {
	V2        int // SpeaksV2
	V1        int // SpeaksV1
	RefusedV2 int
}

// Count says how many notes there are that still count.
func (p *Peers) Count() (c PeerCounts) {
	if p == nil {
		return c
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.V2, c.V1 = p.known.count(SpeaksV2), p.known.count(SpeaksV1)
	c.RefusedV2 = p.refused.count(RefusedV2)
	return c
}

func (p *Peers) know(note peerNote) { // p.mu is held
	if note.speaks == SpeaksV2 || p.known.lookup(note.addr) != SpeaksV2 {
		p.known.put(note, maxPeers)
	}
}

// notes are the notes on so many peers, in the order of noting.
type notes struct {
	byAddr map[string]*list.Element
	order  list.List // of peerNote, the one noted longest ago in front
}

type peerNote struct {
	addr   string // lower case
	speaks Speaks
	until  time.Time
}

func (n *notes) lookup(addr string) Speaks {
	if e, ok := n.byAddr[addr]; ok {
		if note := e.Value.(peerNote); time.Now().Before(note.until) {
			return note.speaks
		}
	}
	return SpeaksUnknown
}

// put makes note the last one. Of more than limit the first is forgotten.
func (n *notes) put(note peerNote, limit int) {
	if old, ok := n.byAddr[note.addr]; ok {
		n.order.Remove(old)
	} else if n.order.Len() == limit {
		delete(n.byAddr, n.order.Remove(n.order.Front()).(peerNote).addr)
	}
	if n.byAddr == nil {
		n.byAddr = make(map[string]*list.Element)
	}
	n.byAddr[note.addr] = n.order.PushBack(note)
}

func (n *notes) count(speaks Speaks) (c int) {
	now := time.Now()
	for e := n.order.Front(); e != nil; e = e.Next() {
		if note := e.Value.(peerNote); note.speaks == speaks && now.Before(note.until) {
			c++
		}
	}
	return c
}

func (n *notes) all() []peerNote {
	all := make([]peerNote, 0, n.order.Len())
	for e := n.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(peerNote))
	}
	return all
}
