package fallback

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"bip324proxy/internal/dial"
)

// lookupTimeout limits one lookup: two DNS servers that do not answer take 5 s each,
// and are asked twice.
const lookupTimeout = 20 * time.Second

// Connect opens a connection to addr, "host:port". A name is looked up first, unless
// Dial does that. DialTimeout begins after the lookup. Most programs do not need this:
// DialContext calls it.
func (d *Dialer) Connect(ctx context.Context, addr string) (net.Conn, error) {
	connect, resolve := d.Dial, d.resolver()
	if connect == nil {
		connect = (&net.Dialer{KeepAlive: -1}).DialContext
		if resolve == nil {
			resolve = dial.Lookup
		}
	}
	network := cmp.Or(d.network, "tcp")
	host, port, isName := splitName(addr)
	var ips []netip.Addr
	var err error
	switch {
	case isName && d.direct() && NeedsProxy(host):
		return nil, &net.OpError{Op: "dial", Net: network, Addr: dialAddr{network, addr}, Err: ErrNeedsProxy}
	case isName && resolve != nil:
		ips, err = d.lookUp(ctx, resolve, host)
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, d.dialTimeout())
	defer cancel()
	if len(ips) == 0 {
		return connect(ctx, network, addr)
	}
	return dial.First(ctx, ips, func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
		return connect(ctx, network, net.JoinHostPort(ip.Unmap().String(), port))
	})
}

// NeedsProxy reports whether host is a name that only Tor or I2P can reach. A Dialer
// without a proxy does not even look it up: no DNS server may learn it.
func NeedsProxy(host string) bool {
	name := strings.ToLower(strings.TrimRightFunc(otherDots.Replace(host), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) // as copied from a text
	}))
	return strings.HasSuffix(name, ".onion") || strings.HasSuffix(name, ".i2p")
}

// otherDots replaces the dots that separate labels in other scripts (RFC 3490, section 3.1).
var otherDots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

// resolver returns Resolve, or nil where a proxy resolves names.
func (d *Dialer) resolver() func(context.Context, string) ([]netip.Addr, error) {
	if !d.direct() {
		return nil
	}
	return d.Resolve
}

// splitName splits "host:port" and reports whether the host is a name.
func splitName(addr string) (host, port string, isName bool) {
	host, port, err := net.SplitHostPort(addr)
	_, literal := netip.ParseAddr(host)
	return host, port, err == nil && literal != nil && host != ""
}

// lookUp calls resolve with lookupTimeout, and returns the addresses that suit d's
// network. Without an error there is one.
func (d *Dialer) lookUp(ctx context.Context, resolve func(context.Context, string) ([]netip.Addr, error), host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	all, err := resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	ips := slices.DeleteFunc(slices.Clone(all), func(ip netip.Addr) bool { return !suits(d.network, ip) })
	switch {
	case len(all) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	case len(ips) == 0:
		return nil, wrongFamily(host)
	}
	return ips, nil
}

// suits reports whether ip is of network's family.
func suits(network string, ip netip.Addr) bool {
	switch network {
	case "tcp4":
		return ip.Unmap().Is4()
	case "tcp6":
		return !ip.Unmap().Is4()
	}
	return true
}

// wrongFamily returns net.Dialer's error for a host without an address of the family.
func wrongFamily(host string) error {
	return &net.AddrError{Err: "no suitable address found", Addr: host}
}

// otherAddresses returns the addresses, "host:port", of addr's name other than the one
// that nc leads to, those proven v2 first, and whether any is. Where v1 is allowed,
// it leaves out those known to speak v1. A failed lookup is not an error: nc has an
// address already.
func (d *Dialer) otherAddresses(ctx context.Context, addr string, nc net.Conn) (others []string, proven bool) {
	host, port, isName := splitName(addr)
	resolve := d.resolver()
	if resolve == nil || !isName || NeedsProxy(host) {
		return nil, false
	}
	ips, _ := d.lookUp(ctx, resolve, host)
	reached := d.reached(nc)
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
