package proxy

import (
	"context"
	"errors"
	"net"
	"syscall"

	"bip324proxy/internal/plain"
	"bip324proxy/socks"
)

// dialHint says what to do about a destination that could not be connected to or
// resolved, if it is not the destination's fault.
func dialHint(err error) string {
	var upstream *socks.UpstreamError
	var dns *net.DNSError
	switch {
	case isUpstreamDown(err):
		errors.As(err, &upstream)
		return upstreamHint(upstream)
	case errors.As(err, &upstream) && upstream.Code == socks.GeneralFailure:
		return "the upstream proxy does not say why: its log may"
	case errors.As(err, &upstream):
		return ""
	case errors.As(err, &dns) && !dns.IsNotFound:
		return "see that name resolution works on this machine (bip324-proxy check)"
	}
	var errno syscall.Errno
	switch {
	case !errors.As(err, &errno):
	case plain.IsNoRoute(errno):
		return "this machine may have no IPv6, or no network at all (bip324-proxy check)"
	case plain.IsLocal(errno):
		return "see this machine's firewall and limits (bip324-proxy check)"
	}
	return ""
}

// isUpstreamDown reports whether err is that the upstream proxy itself could not be
// reached or used, whatever the destination was.
func isUpstreamDown(err error) bool {
	var upstream *socks.UpstreamError
	return errors.As(err, &upstream) && upstream.Stage != socks.StageRequest && !errors.Is(upstream, context.Canceled)
}
