package dns

import (
	"container/list"
	"net/netip"
	"strings"
	"sync"
)

// Pool are the addresses that Names gives to names. RFC 2544 reserves them for benchmarks: no
// host on the internet has one.
var Pool = netip.MustParsePrefix("198.19.0.0/16")

// Names gives addresses to names that have none, such as those in .onion, so that a program
// without SOCKS can connect to them, like Tor's AutomapHostsOnResolve. The zero value is ready
// for use.
type Names struct {
	mu     sync.Mutex
	byName map[string]*list.Element
	byAddr map[netip.Addr]*list.Element
	order  list.List  // of *mapping, the least recently used first
	last   netip.Addr // that was given to its first name
}

type mapping struct {
	name string
	addr netip.Addr
}

// Addr returns the address of name. When all of Pool is in use, it is that of the name that
// was not used for the longest time.
func (n *Names) Addr(name string) netip.Addr {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byName == nil {
		n.byName, n.byAddr = make(map[string]*list.Element), make(map[netip.Addr]*list.Element)
	}
	e, ok := n.byName[name]
	if !ok {
		e = n.free()
		m := e.Value.(*mapping)
		m.name = name
		n.byName[name], n.byAddr[m.addr] = e, e
	}
	n.order.MoveToBack(e)
	return e.Value.(*mapping).addr
}

// free returns the mapping of an address that has no name, or loses it. n.mu is held.
func (n *Names) free() *list.Element {
	addr := Pool.Addr().Next()
	if last := n.last; last.IsValid() {
		addr = last.Next()
	}
	if Pool.Contains(addr.Next()) { // the very last is a broadcast address
		n.last = addr
		return n.order.PushBack(&mapping{addr: addr})
	}
	oldest := n.order.Front()
	delete(n.byName, oldest.Value.(*mapping).name)
	return oldest
}

// Name returns the name that addr was given to.
func (n *Names) Name(addr netip.Addr) (name string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.byAddr[addr.Unmap()]
	if !ok {
		return "", false
	}
	n.order.MoveToBack(e)
	return e.Value.(*mapping).name, true
}
