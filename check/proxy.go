package check

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"bip324proxy/internal/hints"
	"bip324proxy/internal/plain"
	"bip324proxy/proxy"
	"bip324proxy/socks"
)

// askTimeout bounds a request to a program on this machine or nearby.
const askTimeout = 5 * time.Second

// Proxy checks the proxy itself. configuration describes the settings, which are valid.
func Proxy(ctx context.Context, s *Subject, configuration string) Report {
	r := Report{OK: true}
	r.add(Result{"configuration", OK, configuration, ""})
	for _, l := range s.Listeners {
		r.add(s.listener(ctx, l, false))
	}
	for _, in := range s.Inbound {
		r.add(s.inbound(ctx, in)...)
	}
	upstreams, isTor := s.upstreams(ctx)
	r.add(upstreams...)
	r.add(s.network(), s.names(s.Policy.Upstream, isTor))
	r.add(s.shapes()...)
	r.add(s.sessions())
	r.add(s.statusPage(ctx)...)
	return r
}

// Listeners checks only whether the proxy answers. It contacts nothing else, and the proxy
// neither counts nor logs it: a container's engine asks every few seconds.
func Listeners(ctx context.Context, s *Subject) Report {
	r := Report{OK: true}
	for _, l := range s.Listeners {
		r.add(s.listener(ctx, l, true))
	}
	return r
}

// network checks whether this machine has a route to the internet.
func (s *Subject) network() Result {
	const name = "network"
	if s.Policy.Upstream != nil {
		return Result{name, Skipped, "all connections go through the upstream proxy", "to test a real connection: bip324-proxy check HOST:PORT"}
	}
	if err := s.Policy.Bind.Check(); err != nil {
		return Result{name, Failed, plain.Words(err), hints.For(proxy.Failure{Kind: proxy.KindBind, Err: err})}
	}
	route := s.Route
	if route == nil {
		route = systemRoute
	}
	var routes []string
	for _, to := range []struct{ name, network, address string }{ // documentation addresses (RFC 5737, RFC 3849)
		{"IPv4", "udp4", "192.0.2.1:8333"}, {"IPv6", "udp6", "[2001:db8::1]:8333"},
	} {
		if from, err := route(to.network, to.address); err == nil {
			routes = append(routes, fmt.Sprintf("%s from %s", to.name, from))
		}
	}
	const hint = "no packet was sent; to test a real connection: bip324-proxy check HOST:PORT"
	if s.Policy.Bind.IsSet() {
		return Result{name, OK, "direct connections leave from " + s.Policy.Bind.String() + ", which this machine has", hint}
	}
	switch len(routes) {
	case 0:
		return Result{name, Warning, "this machine has no route to the internet, by IPv4 or IPv6", "connect it to a network, unless all peers are on a local one; to test one of those: bip324-proxy check HOST:PORT"}
	case 1:
		return Result{name, OK, "route to the internet: " + routes[0] + " only", hint}
	}
	return Result{name, OK, "routes to the internet: " + strings.Join(routes, ", "), hint}
}

// systemRoute returns the local address of a connected UDP socket. It sends no packet.
func systemRoute(network, to string) (from string, err error) {
	c, err := net.Dial(network, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	from, _, err = net.SplitHostPort(c.LocalAddr().String())
	return from, err
}

// names checks who sees the names that clients ask for, where u is their upstream proxy.
func (s *Subject) names(u *socks.Upstream, isTor bool) Result {
	const name = "names"
	isLiteral := func(hostport string) bool { _, err := netip.ParseAddrPort(hostport); return err == nil }
	switch {
	case u == nil && len(s.Policy.Routes) > 0:
		return Result{name, Warning, "this machine's resolver looks up the names that clients ask for, except those with an upstream proxy, so your DNS server sees them",
			"clients that connect to addresses, as nodes do for most peers, are not affected; to avoid it, end --upstream with socks5://127.0.0.1:9050 (Tor)"}
	case u == nil:
		return Result{name, Warning, "this machine's resolver looks up the names that clients ask for, so your DNS server sees them",
			"clients that connect to addresses, as nodes do for most peers, are not affected; to avoid it, run with --upstream socks5://127.0.0.1:9050 (Tor)"}
	case u.Network == "tcp" && !isLiteral(u.Address):
		return Result{name, Warning, "this machine's resolver looks up the upstream proxy's own name, " + u.Address + "; the names that clients ask for go to that proxy",
			"use its address in --upstream"}
	case isTor:
		return Result{name, OK, "no leak: names go to Tor, which resolves them at its exits; this machine looks up none", ""}
	}
	return Result{name, OK, "no leak here: names go to the upstream proxy; this machine looks up none", "that proxy decides who resolves them"}
}

// sessions checks how many sessions are possible at a time.
func (s *Subject) sessions() Result {
	const name = "sessions"
	enough := proxy.SessionsForDescriptors(s.Descriptors)
	if s.MaxSessions > enough {
		return Result{name, Warning, fmt.Sprintf("--max-sessions %d is too many for the file descriptor limit, which allows %d", s.MaxSessions, enough),
			fmt.Sprintf("raise the limit, also the service's (ulimit -Hn, systemd's LimitNOFILE), to %d, or omit --max-sessions", 6*s.MaxSessions+s.Descriptors+100)}
	}
	return Result{name, OK, fmt.Sprintf("up to %d sessions at a time; file descriptors allow %d", cmp.Or(s.MaxSessions, proxy.DefaultMaxSessions(s.Descriptors)), enough), ""}
}
