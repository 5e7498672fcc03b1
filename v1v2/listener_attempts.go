package v1v2

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// attempts are the handshakes in progress, the oldest first.
type attempts struct {
	mu  sync.Mutex
	all []*attempt
}

// attempt is one of them.
type attempt struct {
	network netip.Prefix // of the peer
	cancel  context.CancelCauseFunc
}

// add adds a handshake with that peer. ctx ends when it is crowded out.
func (s *attempts) add(parent context.Context, peer net.Addr) (ctx context.Context, a *attempt) {
	a = &attempt{network: networkOf(peer)}
	ctx, a.cancel = context.WithCancelCause(parent)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, a)
	return ctx, a
}

// remove removes a handshake that has ended, and reports whether that was not crowded out.
func (s *attempts) remove(a *attempt) bool {
	a.cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.all, a)
	if at >= 0 {
		s.all = slices.Delete(s.all, at, at+1)
	}
	return at >= 0
}

// number returns how many handshakes are in progress.
func (s *attempts) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// crowdOut ends the oldest handshake of the network with the most, if there is any.
func (s *attempts) crowdOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return
	}
	count := make(map[netip.Prefix]int)
	for _, a := range s.all {
		count[a.network]++
	}
	out := 0
	for i, a := range s.all {
		if count[a.network] > count[s.all[out].network] {
			out = i
		}
	}
	s.all[out].cancel(ErrCrowdedOut)
	s.all = slices.Delete(s.all, out, out+1)
}

// networkOf returns the part of addr that whoever has that address has most likely all of;
// the zero Prefix if addr has no IP address.
func networkOf(addr net.Addr) netip.Prefix {
	if addr == nil {
		return netip.Prefix{}
	}
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap()
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	network, _ := ip.Prefix(bits)
	return network
}
