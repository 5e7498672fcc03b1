// Package inbound limits the peers that connect from the network, and connects them to the
// node, each from its own source address.
//
//	accept → Gate.Enter → handshake, VERSION → Place.Establish → Node.Dial → … → Place.Leave
package inbound

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"bip324proxy/internal/random"

	"golang.org/x/time/rate"
)

// Error is why a peer is refused or evicted.
type Error string

func (e Error) Error() string { return string(e) }

const (
	ErrTooOften         = Error("too many connections a second from its address, its network or all peers")
	ErrTooManyPending   = Error("too many connections without a VERSION")
	ErrTooManyOfAddress = Error("its address has too many sessions")
	ErrTooManyOfNetwork = Error("its network has too many sessions")
	ErrFull             = Error("all inbound sessions are in use")
	ErrEvicted          = Error("evicted for another peer: all inbound sessions, or those of its network, are in use")
)

const (
	// maxPending limits the peers that have not sent a VERSION.
	maxPending = 64

	// maxPendingNearby limits those of one /24 or /48.
	maxPendingNearby = 8

	// maxOfAddress limits the sessions of one address.
	maxOfAddress = 4

	// turnover is how often one of the younger sessions ends for a newcomer of a network that
	// has no fewer; local ones and others have a turn each.
	turnover = 30 * time.Second

	// groupShare divides the sessions, and the rate, into what one network group may
	// have: an eighth.
	groupShare = 8
)

// Gate limits the peers of all listeners. A peer without its own address, which connects
// through Tor or a unix socket, is local: local peers share one half of what there is, and
// remote peers the other; either may use what the other leaves.
type Gate struct {
	mu          sync.Mutex
	rates       connectRates
	logged      logRates
	sessions    int
	pending     crowd
	established crowd

	localTurnover, remoteTurnover *rate.Limiter
}

// Place is a peer's share of a Gate's limits, from Enter until Leave.
type Place struct {
	gate *Gate
	networks
	evict func(error)
	err   error // why it was evicted; nil if it was not
}

// NewGate returns a Gate for that many sessions.
func NewGate(sessions int) *Gate {
	turns := func() *rate.Limiter { return rate.NewLimiter(rate.Every(turnover), 1) }
	return &Gate{sessions: sessions, rates: newConnectRates(), logged: newLogRates(), localTurnover: turns(), remoteTurnover: turns()}
}

// Enter returns a place for a peer that was accepted, or an Error. For a newer peer evict may
// be called, once, with an Error, from any goroutine, until Leave is; it must not block or
// call the Gate. peer is the zero Addr if it has none.
func (g *Gate) Enter(peer netip.Addr, evict func(error)) (*Place, error) {
	from := networksOf(peer)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.rates.allow(from) {
		return nil, ErrTooOften
	}
	p := &Place{gate: g, networks: from, evict: evict}
	if victim := g.pending.pendingVictim(p); victim != nil {
		g.pending.remove(victim)
		victim.end(ErrTooManyPending)
	}
	g.pending = append(g.pending, p)
	return p, nil
}

// Establish makes the peer, whose VERSION has come, one of the sessions, or returns an Error.
// It may evict another.
func (p *Place) Establish() error {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.pending.remove(p) {
		return p.err
	}
	var victim *Place
	if !p.local {
		ofGroup := g.established.where(func(each *Place) bool { return each.group == p.group })
		ofAddress := ofGroup.where(func(each *Place) bool { return each.address == p.address })
		if len(ofAddress) >= maxOfAddress {
			return ErrTooManyOfAddress
		}
		if len(ofGroup) >= max(g.sessions/groupShare, 1) {
			if victim = ofGroup.yieldsNearby(p); victim == nil {
				return ErrTooManyOfNetwork
			}
		}
	}
	if victim == nil && len(g.established) >= g.sessions {
		if victim = g.established.sessionVictim(p); victim == nil {
			victim = g.replaceable(p)
		}
		if victim == nil {
			return ErrFull
		}
	}
	if victim != nil {
		g.established.remove(victim)
		victim.end(ErrEvicted)
	}
	g.established = append(g.established, p)
	return nil
}

// replaceable returns a peer whose session ends for the newcomer's although its network has
// no more: otherwise silent peers of enough networks, or of Tor, would keep out all others
// for ever. It is nil if there is none, or another had to go for that lately.
func (g *Gate) replaceable(newcomer *Place) *Place {
	turns := g.remoteTurnover
	if newcomer.local {
		turns = g.localTurnover
	}
	young := g.established.replaceable(newcomer)
	if len(young) == 0 || !turns.Allow() {
		return nil
	}
	return young[random.N(len(young))]
}

// MayLog reports whether the log is to have lines about the peer's session, and counts it if
// so: strangers can begin and end sessions without end.
func (p *Place) MayLog() bool {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	return p.gate.logged.allow(p.networks)
}

// Leave gives the place back.
func (p *Place) Leave() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if !p.gate.pending.remove(p) {
		p.gate.established.remove(p)
	}
}

// end evicts p, which has been removed. The gate's lock is held.
func (p *Place) end(err Error) {
	p.err = err
	p.evict(err)
}

// remove removes p and reports whether it was there.
func (c *crowd) remove(p *Place) bool {
	i := slices.Index(*c, p)
	if i >= 0 {
		*c = slices.Delete(*c, i, i+1)
	}
	return i >= 0
}
