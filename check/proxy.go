package check

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"bip324proxy/proxy"
)

// askTimeout is for one question to a program on this machine, or on one nearby.
const askTimeout = 5 * time.Second

// Proxy checks the proxy itself. configuration is what there is to say of that: it
// could be read.
func Proxy(ctx context.Context, s *Subject, configuration string) Report {
	r := Report{OK: true}
	r.add(Result{"configuration", OK, configuration, ""})
	for _, l := range s.Listeners {
		r.add(s.listener(ctx, l))
	}
	upstream, isTor := s.upstream(ctx)
	r.add(upstream, s.network(), s.names(isTor), s.sessions(), s.statusPage(ctx))
	return r
}

// Where packets would have to go on the internet. Both are documentation's (RFC
// 5737, RFC 3849), and nothing is sent there.
const (
	somewhereV4 = "192.0.2.1:8333"
	somewhereV6 = "[2001:db8::1]:8333"
)

// network says whether there is a way out of this machine.
func (s *Subject) network() Result {
	const name = "network"
	if s.Policy.Upstream != nil {
		return Result{name, Skipped, "everything goes through the upstream proxy, and nothing directly", "to test a real connection: bip324-proxy check HOST:PORT"}
	}
	route := s.Route
	if route == nil {
		route = systemRoute
	}
	var ways []string
	for _, to := range []struct{ name, network, address string }{{"IPv4", "udp4", somewhereV4}, {"IPv6", "udp6", somewhereV6}} {
		if from, err := route(to.network, to.address); err == nil {
			ways = append(ways, fmt.Sprintf("%s from %s", to.name, from))
		}
	}
	const hint = "nobody was contacted for that; to test a real connection: bip324-proxy check HOST:PORT"
	switch len(ways) {
	case 0:
		return Result{name, Failed, "this machine has no route to the internet, neither for IPv4 nor for IPv6", "connect it to a network; to reach peers on the networks that it does have: bip324-proxy check HOST:PORT"}
	case 1:
		return Result{name, OK, "there is a route to the internet: " + ways[0] + " only", hint}
	}
	return Result{name, OK, "there are routes to the internet: " + strings.Join(ways, ", "), hint}
}

// systemRoute connects a UDP socket, which sends no packet.
func systemRoute(network, to string) (from string, err error) {
	c, err := net.Dial(network, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	from, _, err = net.SplitHostPort(c.LocalAddr().String())
	return from, err
}

// names says who gets to see the names that clients give.
func (s *Subject) names(isTor bool) Result {
	const name = "names"
	u := s.Policy.Upstream
	switch {
	case u == nil:
		return Result{name, Warning, "names that clients give are looked up by this machine's resolver, so your DNS server sees them",
			"clients that give addresses, as nodes do for most peers, are not concerned; to avoid it, run with --upstream socks5://127.0.0.1:9050 (Tor)"}
	case u.Network == "tcp" && !isLiteral(u.Address):
		return Result{name, Warning, "the upstream proxy's own name, " + u.Address + ", is looked up by this machine's resolver; those that clients give go to that proxy",
			"give its address in --upstream"}
	case isTor:
		return Result{name, OK, "no leak: names are given to Tor, which resolves them at its exits; none is looked up on this machine", ""}
	}
	return Result{name, OK, "no leak from here: names are given to the upstream proxy; none is looked up on this machine", "who resolves them is up to that proxy"}
}

func isLiteral(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}

// sessions says how many there can be at a time.
func (s *Subject) sessions() Result {
	const name = "sessions"
	enough := proxy.SessionsForDescriptors(s.Descriptors)
	if s.MaxSessions > enough {
		return Result{name, Warning, fmt.Sprintf("--max-sessions %d are more than this process's limit of descriptors is certain to be enough for: %d", s.MaxSessions, enough),
			fmt.Sprintf("raise the limit, of the service too (ulimit -Hn, systemd's LimitNOFILE), to %d, or leave out --max-sessions", 6*s.MaxSessions+s.Descriptors+100)}
	}
	return Result{name, OK, fmt.Sprintf("up to %d sessions at a time; there are descriptors for %d", cmp.Or(s.MaxSessions, proxy.DefaultMaxSessions(s.Descriptors)), enough), ""}
}
