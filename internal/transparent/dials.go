package transparent

import (
	"maps"
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
	begun   map[netip.AddrPort][]syscall.RawConn // by destination; they may have no address yet
	sockets map[connection]syscall.RawConn
	size    int // of begun and sockets
	sweepAt int // the size at which closed ones are removed
}

// connection is one of a program.
type connection struct{ from, to netip.AddrPort }

// minSweep is the least number of sockets for which the closed ones are removed.
const minSweep = 256

// Start makes Add effective.
func (d *Dials) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on {
		d.on, d.sweepAt = true, minSweep
		d.begun, d.sockets = make(map[netip.AddrPort][]syscall.RawConn), make(map[connection]syscall.RawConn)
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
	d.begun[dest] = append(d.begun[dest], socket)
	d.size++
}

// sweep removes the sockets that are closed.
func (d *Dials) sweep() {
	maps.DeleteFunc(d.sockets, func(_ connection, socket syscall.RawConn) bool { return isClosed(socket) })
	d.size = len(d.sockets)
	for dest, sockets := range d.begun {
		sockets = slices.DeleteFunc(sockets, isClosed)
		if len(sockets) == 0 {
			delete(d.begun, dest)
			continue
		}
		d.begun[dest] = sockets
		d.size += len(sockets)
	}
	d.sweepAt = max(2*d.size, minSweep)
}

// Has reports whether a connection from the address from to dest is one of the sockets'. A
// socket has its address before its first packet leaves, so a connection that came back is
// always found, unless the system has changed its port.
func (d *Dials) Has(from, dest netip.AddrPort) bool {
	c := connection{plain(from), plain(dest)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learn(c.to)
	socket, ok := d.sockets[c]
	return ok && !isClosed(socket)
}

// learn finds the addresses of the sockets that have begun to connect to dest, each once.
// d.mu is held.
func (d *Dials) learn(dest netip.AddrPort) {
	sockets := slices.DeleteFunc(d.begun[dest], func(socket syscall.RawConn) bool {
		local, err := localAddr(socket)
		if err == nil && (local.Port() == 0 || local.Addr().IsUnspecified()) {
			return false
		}
		d.size--
		if err != nil { // closed
			return true
		}
		c := connection{plain(local), dest}
		if _, reused := d.sockets[c]; !reused {
			d.size++
		}
		d.sockets[c] = socket
		return true
	})
	if len(sockets) == 0 {
		delete(d.begun, dest)
		return
	}
	d.begun[dest] = sockets
}

// isClosed reports whether a socket is closed.
func isClosed(socket syscall.RawConn) bool { return socket.Control(func(uintptr) {}) != nil }

// plain returns addr without a zone, which the kernel does not always have.
func plain(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
}
