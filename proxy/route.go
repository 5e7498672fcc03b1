package proxy

import (
	"slices"

	"bip324proxy/rules"
	"bip324proxy/socks"
)

// Route is the way to some destinations.
type Route struct {
	// To are the destinations. A rule about addresses is about those that clients ask for:
	// the addresses of names are unknown before a lookup.
	To rules.Rule

	// Upstream is nil for direct connections.
	Upstream *socks.Upstream
}

// RouteFor returns the first of the Routes that matches dest, or else the one through
// Upstream, which may be nil: then the way is direct. A route through an upstream proxy to an
// IPv4 address is also that to the IPv6 addresses that lead there, such as NAT64's.
func (p *Policy) RouteFor(dest socks.Addr) Route {
	for _, r := range p.Routes {
		if r.To.Matches(dest) || r.Upstream != nil && r.To.MatchesEmbedded(dest) {
			return r
		}
	}
	return Route{rules.Any, p.Upstream}
}

// UpstreamFor returns the upstream proxy for dest, or nil if the way is direct.
func (p *Policy) UpstreamFor(dest socks.Addr) *socks.Upstream { return p.RouteFor(dest).Upstream }

// UpstreamRoutes returns the routes that have an upstream proxy; the last is that of all other
// destinations, if they have one.
func (p *Policy) UpstreamRoutes() []Route {
	all := append(slices.Clone(p.Routes), Route{rules.Any, p.Upstream})
	return slices.DeleteFunc(all, func(r Route) bool { return r.Upstream == nil })
}

// OnlyOnion reports whether .onion is reached through an upstream proxy and clearnet
// directly. Bitcoin Core's private broadcast then shows the address of this host: it
// connects to clearnet, too, through the proxy that has connected it to an onion peer.
func (p *Policy) OnlyOnion() bool {
	return p.Upstream == nil && slices.ContainsFunc(p.UpstreamRoutes(), func(r Route) bool { return r.To.MatchesUnder(".onion") })
}
