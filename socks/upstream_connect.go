package socks

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"bip324proxy/internal/dial"
)

// keepNames is how long the addresses of an upstream proxy's name are kept.
const keepNames = time.Minute

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
	d := &net.Dialer{Control: u.Control, Timeout: cmp.Or(u.ConnectTimeout, defaultConnectTimeout)}
	host, port, err := net.SplitHostPort(u.Address)
	if _, notIP := netip.ParseAddr(host); u.Network != "tcp" || err != nil || notIP == nil {
		return d.DialContext(ctx, u.Network, u.Address)
	}
	first := func(ips []netip.Addr) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		return dial.First(ctx, ips, func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
		})
	}
	if kept := u.names.get(); len(kept) > 0 {
		conn, err := first(kept)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		u.names.set(nil) // it may have moved
	}
	ips, err := dial.Search(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	conn, err := first(ips)
	if err == nil {
		u.names.set(ips)
	}
	return conn, err
}
