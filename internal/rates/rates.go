// Package rates limits the rate of connections from each of many networks, in limited memory.
package rates

import (
	"container/list"
	"net/netip"

	"golang.org/x/time/rate"
)

// MaxNetworks is how many networks have a rate limiter at a time.
const MaxNetworks = 10_000

// Limiters limits the rate of connections from each network. It is for one goroutine at a
// time.
type Limiters struct {
	perSecond rate.Limit
	burst     int
	known     map[netip.Prefix]*list.Element // of recent
	recent    list.List                      // of *limiter, the last seen in front
}

// limiter is the rate limiter of one network.
type limiter struct {
	of netip.Prefix
	*rate.Limiter
}

// New returns Limiters that allow each network perSecond connections a second, and burst at
// once.
func New(perSecond float64, burst int) *Limiters {
	return &Limiters{perSecond: rate.Limit(perSecond), burst: burst, known: make(map[netip.Prefix]*list.Element)}
}

// Allow reports whether a connection from a network is within the rate.
func (l *Limiters) Allow(from netip.Prefix) bool {
	e := l.known[from]
	if e == nil {
		if len(l.known) >= MaxNetworks {
			l.evict()
		}
		e = l.recent.PushFront(&limiter{from, rate.NewLimiter(l.perSecond, l.burst)})
		l.known[from] = e
	}
	l.recent.MoveToFront(e)
	return e.Value.(*limiter).Allow()
}

// evict removes the limiter of a network not seen for long: of the last few the one with
// most of its burst left, so that a busy network does not get a new burst.
func (l *Limiters) evict() {
	victim, most := l.recent.Back(), -1.0
	for e, i := victim, 0; e != nil && i < 16; e, i = e.Prev(), i+1 {
		if left := e.Value.(*limiter).Tokens(); left > most {
			victim, most = e, left
		}
	}
	delete(l.known, l.recent.Remove(victim).(*limiter).of)
}
