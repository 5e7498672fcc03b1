package dns

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestNames(t *testing.T) {
	var n Names
	if name, ok := n.Name(netip.MustParseAddr("198.19.0.1")); ok {
		t.Errorf("an address without a name has %q", name)
	}
	a, b := n.Addr("a.onion"), n.Addr("b.i2p")
	if a == b || !Pool.Contains(a) || !Pool.Contains(b) {
		t.Errorf("got %v and %v", a, b)
	}
	if again := n.Addr("A.ONION."); again != a {
		t.Errorf("the same name has %v, then %v", a, again)
	}
	for _, addr := range []netip.Addr{a, netip.AddrFrom16(a.As16())} {
		if name, ok := n.Name(addr); !ok || name != "a.onion" {
			t.Errorf("%v: got %q, %v", addr, name, ok)
		}
	}
}

// When all addresses are in use, the name that was not used for the longest time loses its.
func TestNamesReused(t *testing.T) {
	var n Names
	const room = 1<<16 - 2
	name := func(i int) string { return fmt.Sprintf("%d.onion", i) }
	all := make(map[netip.Addr]bool)
	for i := range room {
		all[n.Addr(name(i))] = true
	}
	if len(all) != room || all[Pool.Addr()] || all[netip.MustParseAddr("198.19.255.255")] {
		t.Errorf("%d addresses, want %d", len(all), room)
	}
	first, second := n.Addr(name(0)), netip.MustParseAddr("198.19.0.2")
	if got := n.Addr("new.onion"); got != second {
		t.Errorf("got %v, want %v, which was not used since", got, second)
	}
	if got, _ := n.Name(second); got != "new.onion" {
		t.Errorf("%v is %q", second, got)
	}
	if got, _ := n.Name(first); got != name(0) {
		t.Errorf("%v is %q", first, got)
	}
	n.Name(netip.MustParseAddr("198.19.0.3"))
	if got := n.Addr(name(1)); got != netip.MustParseAddr("198.19.0.4") {
		t.Errorf("got %v, want the address after one that was used by a connection", got)
	}
	if len(n.byName) != room || len(n.byAddr) != room || n.order.Len() != room {
		t.Errorf("%d names, %d addresses, %d in order", len(n.byName), len(n.byAddr), n.order.Len())
	}
}
