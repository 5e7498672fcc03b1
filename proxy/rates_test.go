package proxy

import (
	"net"
	"testing"
	"testing/synctest"
)

// Clients of any number of networks do not reset a client's allowance: a client at its limit that
// keeps connecting is not evicted.
func TestClientRatesEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands still
		r := newClientRates(20)
		from := func(i int) net.Addr {
			return &net.TCPAddr{IP: net.IP{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 15: 1}}
		}
		attacker := from(0)
		allowed := 0
		for i := 1; i < 3*maxClients; i++ {
			if r.allow(attacker) {
				allowed++
			}
			if !r.allow(from(i)) {
				t.Fatalf("network %d is refused its first connection", i)
			}
		}
		if allowed != 100 {
			t.Errorf("%d connections were allowed at once, want 100", allowed)
		}
		if len(r.known) != maxClients || r.recent.Len() != maxClients {
			t.Errorf("%d and %d networks tracked, want %d", len(r.known), r.recent.Len(), maxClients)
		}
	})
}
