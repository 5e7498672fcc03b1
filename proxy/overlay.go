package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"bip324proxy/internal/listen"
	"bip324proxy/rules"
	"bip324proxy/socks"
)

// ErrNotCJDNS reports an address in the range of CJDNS where Policy.CJDNSReachable is not set.
var ErrNotCJDNS error = plainError("addresses in fc00::/8 count as CJDNS only where this machine is known to be part of CJDNS")

// Why a network does not count as an overlay, which encrypts all the way from this host to
// the peer.
var (
	errClearnet         = plainError("it is neither a Tor nor a CJDNS address")
	errUpstreamIsRemote = plainError("the upstream proxy is not on this machine, and the way to it is not encrypted")
	errUpstreamIsNotTor = plainError("the upstream proxy does not answer as Tor does")
)

// cjdns is the range of CJDNS.
var cjdns = netip.MustParsePrefix("fc00::/8")

// mayBeOverlay returns nil if dest may be in an overlay, as far as can be told without
// asking its upstream proxy, or else why it is not.
func (p *Policy) mayBeOverlay(dest socks.Addr) error {
	switch {
	case isOnion(dest.Host):
	case !cjdns.Contains(dest.IP):
		return errClearnet
	case !p.CJDNSReachable:
		return ErrNotCJDNS
	}
	u := p.UpstreamFor(dest)
	if u == nil || u.Network == "unix" {
		return nil
	}
	address, _, _ := net.SplitHostPort(u.Address)
	if ip, err := netip.ParseAddr(address); err == nil && !ip.Unmap().IsLoopback() {
		return errUpstreamIsRemote
	}
	return nil // a name may lead anywhere
}

// Overlay returns nil if dest is in an overlay, or else why it is not. For .onion it asks
// its upstream proxy whether that is Tor. via is the address connected to: the upstream
// proxy's, if dest has one.
func (p *Policy) Overlay(ctx context.Context, dest socks.Addr, via net.Addr) error {
	if err := p.mayBeOverlay(dest); err != nil {
		return err
	}
	u := p.UpstreamFor(dest)
	if u != nil && !listen.IsLocal(via) {
		return errUpstreamIsRemote
	}
	if !isOnion(dest.Host) {
		return nil
	}
	if u == nil {
		return ErrNoEgress
	}
	if _, err := u.ProbeTor(ctx); err != nil {
		return errUpstreamIsNotTor
	}
	return nil
}

func isOnion(host string) bool { return strings.HasSuffix(rules.PlainName(host), ".onion") }
