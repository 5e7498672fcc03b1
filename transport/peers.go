package transport

import (
	"container/list"
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
)

const (
	// maxPeers bounds a memory; one entry costs about 200 bytes.
	maxPeers = 10_000

	// A v1 peer may be upgraded any day. A v2 peer has no reason to go back.
	forgetV1 = 24 * time.Hour
	forgetV2 = 30 * 24 * time.Hour
)

// Peers remembers which peers speak what, so that no one can talk a v2 peer
// down to v1 by cutting its connections, and no v1 peer is bothered with v2
// every time. It holds the 10,000 noted last. Its zero value is empty and ready;
// a nil *Peers remembers nothing. It is safe for concurrent use.
type Peers struct {
	mu     sync.Mutex
	byAddr map[string]*list.Element
	order  list.List // of peerNote, the one noted longest ago in front
}

type peerNote struct {
	addr   string
	speaks Speaks
	until  time.Time
}

// Lookup returns what is known of addr, "host:port". It changes nothing.
func (p *Peers) Lookup(addr string) Speaks {
	if p == nil {
		return SpeaksUnknown
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lookup(strings.ToLower(addr))
}

func (p *Peers) lookup(addr string) Speaks {
	if e, ok := p.byAddr[addr]; ok {
		if note := e.Value.(peerNote); time.Now().Before(note.until) {
			return note.speaks
		}
	}
	return SpeaksUnknown
}

// Note records what addr speaks: SpeaksV1 for a day, SpeaksV2 for 30 days. A
// peer that is known to speak v2 is not noted as v1.
func (p *Peers) Note(addr string, speaks Speaks) {
	if p == nil || speaks == SpeaksUnknown {
		return
	}
	addr = strings.ToLower(addr)
	note := peerNote{addr: addr, speaks: speaks, until: time.Now().Add(forgetV1)}
	if speaks == SpeaksV2 {
		note.until = time.Now().Add(forgetV2)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if speaks == SpeaksV1 && p.lookup(addr) == SpeaksV2 {
		return
	}
	if old, ok := p.byAddr[addr]; ok {
		p.order.Remove(old)
	} else if p.order.Len() == maxPeers {
		delete(p.byAddr, p.order.Remove(p.order.Front()).(peerNote).addr)
	}
	if p.byAddr == nil {
		p.byAddr = make(map[string]*list.Element)
	}
	p.byAddr[addr] = p.order.PushBack(note)
}
