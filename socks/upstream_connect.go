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

// keepNames is how long the addresses of an upstream proxy's name are cached.
const keepNames = time.Minute

// names caches the addresses of an upstream proxy's name: there are many sessions, and the
// resolver may be slow. A nil *names caches nothing.
type names struct {
	mu    sync.Mutex
	ips   []netip.Addr
	until time.Time
}

// get returns the cached addresses, or nil.
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

// set caches ips for a minute.
func (n *names) set(ips []netip.Addr) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ips, n.until = ips, time.Now().Add(keepNames)
}

// connect connects to the proxy, with TCP keepalive, unlike connections to peers: SOCKS5 is
// in plaintext anyway, and a proxy on another machine may vanish.
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
