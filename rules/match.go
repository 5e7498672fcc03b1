package rules

import (
	"net/netip"
	"slices"
	"strings"

	"bip324proxy/socks"
)

// Any is the rule "*", which matches every destination.
var Any = Rule{text: "*", any: true}

// Matches reports whether r matches dest, a destination as a client asks for it: a rule about
// addresses matches no name. Port 0, of a RESOLVE, stands for any port.
func (r Rule) Matches(dest socks.Addr) bool {
	matches := r.any || r.matchesIP(dest.IP.Unmap().WithZone(""))
	if !dest.IP.IsValid() {
		matches = r.any || r.matchesName(PlainName(dest.Host))
	}
	return matches && (dest.Port == 0 || r.matchesPort(dest.Port))
}

// MatchesEmbedded reports whether r matches an IPv4 address that dest, an IPv6 address,
// embeds: packets to it may be translated to IPv4.
func (r Rule) MatchesEmbedded(dest socks.Addr) bool {
	return slices.ContainsFunc(embedded(dest.IP.WithZone("")), func(ip netip.Addr) bool {
		return r.Matches(socks.Addr{IP: ip, Port: dest.Port})
	})
}

// Covers reports whether r matches all that other matches.
func (r Rule) Covers(other Rule) bool {
	if r.last != 0 && (other.last == 0 || other.first < r.first || r.last < other.last) {
		return false
	}
	switch {
	case r.any:
		return true
	case r.private:
		return other.private || other.prefix.IsSingleIP() && IsPrivate(other.prefix.Addr()) ||
			slices.ContainsFunc(privateNetworks, func(n netip.Prefix) bool { return contains(n, other.prefix) })
	case r.prefix.IsValid():
		return contains(r.prefix, other.prefix)
	}
	return r.matchesName(other.name)
}

var privateNetworks = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")

// MatchesUnder reports whether r matches a name that ends in suffix, such as ".onion".
func (r Rule) MatchesUnder(suffix string) bool {
	return r.any || strings.HasSuffix(r.name, suffix) || r.name != "" && r.name[0] == '.' && strings.HasSuffix(suffix, r.name)
}
