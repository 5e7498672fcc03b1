package socks

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"bip324proxy/internal/dial"
)

// keepAddresses is how long the addresses of an upstream proxy's name are cached: there are
// many sessions, and the resolver may be slow.
const keepAddresses = time.Minute

// addresses are those of an upstream proxy's name.
type addresses struct {
	ips   []netip.Addr
	until time.Time
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
	cache := cmp.Or(u.cache, new(atomic.Pointer[addresses]))
	if a := cache.Load(); a != nil && time.Now().Before(a.until) {
		conn, err := first(a.ips)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		cache.Store(nil) // it may have moved
	}
	ips, err := dial.Search(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	conn, err := first(ips)
	if err == nil {
		cache.Store(&addresses{ips, time.Now().Add(keepAddresses)})
	}
	return conn, err
}
