package transparent

import (
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// Dials has the sockets that a program connects with, so that it recognises a connection of
// itself that the system redirects back to it. The zero value is off.
type Dials struct {
	mu      sync.Mutex
	on      bool
	sockets map[netip.AddrPort][]syscall.RawConn // by destination
	size    int                                  // of sockets
	sweepAt int                                  // the size at which closed ones are removed
}

// minSweep is the least number of sockets for which the closed ones are removed.
const minSweep = 256

// Start makes Add effective.
func (d *Dials) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on {
		d.on, d.sockets, d.sweepAt = true, make(map[netip.AddrPort][]syscall.RawConn), minSweep
	}
}

// Add adds a socket that is about to connect to dest. A nil d has no effect.
func (d *Dials) Add(dest netip.AddrPort, socket syscall.RawConn) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on {
		return
	}
	if d.size >= d.sweepAt {
		d.sweep()
	}
	dest = plain(dest)
	d.sockets[dest] = append(d.sockets[dest], socket)
	d.size++
}

// sweep removes the sockets that are closed.
func (d *Dials) sweep() {
	d.size = 0
	for dest, sockets := range d.sockets {
		sockets = slices.DeleteFunc(sockets, isClosed)
		if len(sockets) == 0 {
			delete(d.sockets, dest)
			continue
		}
		d.sockets[dest] = sockets
		d.size += len(sockets)
	}
	d.sweepAt = max(2*d.size, minSweep)
}

// Has reports whether a connection from the address from to dest is one of the sockets'. A
// socket has its address before its first packet leaves, so a connection that came back is
// always found, unless the system has changed its port.
func (d *Dials) Has(from, dest netip.AddrPort) bool {
	from, dest = plain(from), plain(dest)
	d.mu.Lock()
	sockets := slices.Clone(d.sockets[dest])
	d.mu.Unlock()
	return slices.ContainsFunc(sockets, func(socket syscall.RawConn) bool {
		local, err := localAddr(socket)
		return err == nil && plain(local) == from
	})
}

// isClosed reports whether a socket is closed.
func isClosed(socket syscall.RawConn) bool { return socket.Control(func(uintptr) {}) != nil }

// plain returns addr without a zone, which the kernel does not always have.
func plain(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
}
