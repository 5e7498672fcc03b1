package socks

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"bip324proxy/internal/dial"
)

const (
	// keepNames is how long the addresses of an upstream proxy's name are kept.
	keepNames = time.Minute

	// keptTimeout is how long connecting to kept addresses may take before the name
	// is looked up again.
	keptTimeout = 5 * time.Second
)

// names keeps the addresses of an upstream proxy that has a name: sessions are many,
// and its resolver may be slow.
type names struct {
	mu    sync.Mutex
	ips   []netip.Addr
	until time.Time
}

// get returns the addresses that are kept, or nil.
func (n *names) get() []netip.Addr {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Now().After(n.until) {
		return nil
	}
	return n.ips
}

// set keeps ips for a minute.
func (n *names) set(ips []netip.Addr) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ips, n.until = ips, time.Now().Add(keepNames)
}

// connect opens a connection to the proxy. It has the system's TCP keepalive, unlike
// those to peers: who sees it sees SOCKS5 in plaintext anyway, and a proxy on another
// machine may vanish.
func (u *Upstream) connect(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{Control: u.Control}
	host, port, err := net.SplitHostPort(u.Address)
	if _, notIP := netip.ParseAddr(host); u.Network != "tcp" || err != nil || notIP == nil {
		return d.DialContext(ctx, u.Network, u.Address)
	}
	connect := func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
	}
	if kept := u.names.get(); len(kept) > 0 {
		soon, cancel := context.WithTimeout(ctx, keptTimeout)
		conn, err := dial.First(soon, kept, connect)
		cancel()
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		u.names.set(nil) // it may have moved
	}
	ips, err := dial.Lookup(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	conn, err := dial.First(ctx, ips, connect)
	if err == nil {
		u.names.set(ips)
	}
	return conn, err
}
