package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"bip324proxy/internal/listen"
	"bip324proxy/rules"
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

// mayBeOverlay returns nil if host may be in an overlay, as far as can be told without
// asking the upstream proxy, or else why it is not.
func (p *Policy) mayBeOverlay(host string) error {
	ip, err := netip.ParseAddr(host)
	switch {
	case isOnion(host):
	case err != nil || !cjdns.Contains(ip):
		return errClearnet
	case !p.CJDNSReachable:
		return ErrNotCJDNS
	}
	if p.Upstream == nil || p.Upstream.Network == "unix" {
		return nil
	}
	address, _, _ := net.SplitHostPort(p.Upstream.Address)
	if ip, err := netip.ParseAddr(address); err == nil && !ip.Unmap().IsLoopback() {
		return errUpstreamIsRemote
	}
	return nil // a name may lead anywhere
}

// Overlay returns nil if host is in an overlay, or else why it is not. For .onion it asks
// the upstream proxy whether it is Tor. via is the address connected to: the upstream
// proxy's, if there is one. It is for fallback.Dialer.
func (p *Policy) Overlay(ctx context.Context, host string, via net.Addr) error {
	if err := p.mayBeOverlay(host); err != nil {
		return err
	}
	if p.Upstream != nil && !listen.IsLocal(via) {
		return errUpstreamIsRemote
	}
	if !isOnion(host) {
		return nil
	}
	if p.Upstream == nil {
		return ErrNoEgress
	}
	if _, err := p.Upstream.ProbeTor(ctx); err != nil {
		return errUpstreamIsNotTor
	}
	return nil
}

func isOnion(host string) bool { return strings.HasSuffix(rules.PlainName(host), ".onion") }
