package fallback

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"time"

	"bip324proxy/internal/dial"
)

// lookupTimeout limits one lookup: two DNS servers that do not answer take 5 s each,
// and are asked twice.
const lookupTimeout = 20 * time.Second

// Connect opens a connection to addr, "host:port". A name is looked up first, unless
// Dial does that. DialTimeout begins after the lookup.
func (d *Dialer) Connect(ctx context.Context, addr string) (net.Conn, error) {
	connect, resolve := d.Dial, d.Resolve
	if connect == nil {
		connect = (&net.Dialer{KeepAlive: -1}).DialContext
		if resolve == nil {
			resolve = dial.Lookup
		}
	}
	host, port, isName := splitName(addr)
	var ips []netip.Addr
	if isName && resolve != nil {
		var err error
		if ips, err = lookUp(ctx, resolve, host); err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.DialTimeout, 5*time.Second))
	defer cancel()
	if len(ips) == 0 {
		return connect(ctx, "tcp", addr)
	}
	return dial.First(ctx, ips, func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
		return connect(ctx, "tcp", net.JoinHostPort(ip.Unmap().String(), port))
	})
}

// splitName splits "host:port" and reports whether the host is a name.
func splitName(addr string) (host, port string, isName bool) {
	host, port, err := net.SplitHostPort(addr)
	_, literal := netip.ParseAddr(host)
	return host, port, err == nil && literal != nil
}

// lookUp calls resolve with lookupTimeout. Without an error there is an address.
func lookUp(ctx context.Context, resolve func(context.Context, string) ([]netip.Addr, error), host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ips, err := resolve(ctx, host)
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return ips, err
}

// otherAddresses returns the addresses, "host:port", of addr's name other than the one
// that nc leads to, those proven v2 first, and whether any is. Where v1 is allowed,
// it leaves out those known to speak v1. A failed lookup is not an error: nc has an
// address already.
func (d *Dialer) otherAddresses(ctx context.Context, addr string, nc net.Conn) (others []string, proven bool) {
	host, port, isName := splitName(addr)
	if d.Resolve == nil || !isName {
		return nil, false
	}
	ips, _ := lookUp(ctx, d.Resolve, host)
	reached := CanonicalAddr(nc.RemoteAddr().String())
	var unknown []string
	for _, ip := range ips {
		other := CanonicalAddr(net.JoinHostPort(ip.String(), port))
		switch speaks := d.Peers.Lookup(other); {
		case other == reached:
		case speaks == SpeaksV2:
			others = append(others, other)
		case speaks != SpeaksV1 || !d.allowsV1():
			unknown = append(unknown, other)
		}
	}
	proven = len(others) > 0
	return append(others, unknown...), proven
}
