package rates

import (
	"net/netip"
	"testing"
	"testing/synctest"
)

// Any number of networks do not reset one's allowance: a network at its limit that keeps connecting
// is not evicted.
func TestRatesEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands still
		l := New(20, 100)
		from := func(i int) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i)}), 64)
		}
		attacker := from(0)
		allowed := 0
		for i := 1; i < 3*MaxNetworks; i++ {
			if l.Allow(attacker) {
				allowed++
			}
			if !l.Allow(from(i)) {
				t.Fatalf("network %d is refused its first connection", i)
			}
		}
		if allowed != 100 {
			t.Errorf("%d connections were allowed at once, want 100", allowed)
		}
		if len(l.known) != MaxNetworks || l.recent.Len() != MaxNetworks {
			t.Errorf("%d and %d networks tracked, want %d", len(l.known), l.recent.Len(), MaxNetworks)
		}
	})
}
