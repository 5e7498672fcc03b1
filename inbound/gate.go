// Package inbound decides which peers may come in from the network, and as whom the node
// behind sees them.
//
//	accept → Gate.Enter → handshake, VERSION → Place.Establish → Node.Dial → … → Place.Leave
package inbound

import (
	"net/netip"
	"sync"
)

// Error is why a peer does not get in, or has to leave for another.
type Error string

func (e Error) Error() string { return string(e) }

const (
	ErrTooOften         = Error("its address connects too often")
	ErrTooManyPending   = Error("too many connections have not sent a VERSION yet")
	ErrTooManyOfAddress = Error("its address has too many sessions")
	ErrTooManyOfNetwork = Error("its network has too many sessions")
	ErrFull             = Error("the limit of inbound sessions is reached")
	ErrEvicted          = Error("evicted for a peer of another network: the limit of inbound sessions is reached")
)

// Gate limits the peers of all listeners.
type Gate struct {
	mu       sync.Mutex
	sessions int
	places   map[*Place]struct{}
}

// Place is what a peer takes from when it is accepted until it leaves.
type Place struct {
	gate  *Gate
	peer  netip.Addr
	evict func(error)
}

// NewGate returns a Gate for that many sessions.
func NewGate(sessions int) *Gate {
	return &Gate{sessions: sessions, places: make(map[*Place]struct{})}
}

// Enter returns a place for a peer that was accepted, or an Error. For a newer peer evict may
// be called, with an Error, from any goroutine, until Leave is; it must not block or call the
// Gate.
func (g *Gate) Enter(peer netip.Addr, evict func(error)) (*Place, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.places) >= g.sessions+64 {
		return nil, ErrTooManyPending
	}
	p := &Place{g, peer, evict}
	g.places[p] = struct{}{}
	return p, nil
}

// Establish makes the peer, whose VERSION has come, one of the sessions, or returns an Error.
// It may evict another.
func (p *Place) Establish() error { return nil }

// Leave gives the place back.
func (p *Place) Leave() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	delete(p.gate.places, p)
}
