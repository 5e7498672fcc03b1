package rules

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"bip324proxy/internal/localnet"
)

// clientRanges are the ranges that Clients may contain without publicPrefix: the internet
// routes no packets from them. RFC 6598's 100.64.0.0/10 is not one: a provider's other
// customers have such addresses, too.
var clientRanges = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", // RFC 1918, RFC 4193
	"169.254.0.0/16", "fe80::/10", "127.0.0.0/8", "::1/128",
)

// publicPrefix precedes networks outside clientRanges.
const publicPrefix = "public:"

// Clients are the addresses and networks whose clients need no password at a listener that
// other machines can reach.
type Clients []netip.Prefix

// ParseClients parses addresses, and networks in CIDR notation: 172.30.0.5, 172.30.0.0/24.
// Those that are not private, link-local or loopback need the prefix "public:".
func ParseClients(texts []string) (all Clients, err error) {
	for _, text := range texts {
		network, why := parseClients(text)
		if why != "" {
			return nil, fmt.Errorf("%q %s", text, why)
		}
		all = append(all, network)
	}
	return all, nil
}

func parseClients(text string) (network netip.Prefix, why string) {
	plain, public := strings.CutPrefix(text, publicPrefix)
	network, err := netip.ParsePrefix(plain)
	if err != nil {
		ip, err := netip.ParseAddr(plain)
		switch {
		case err != nil:
			return network, "is neither an address nor a network; write 172.30.0.5, 172.30.0.0/24 or fd00:30::/64"
		case ip.Zone() != "":
			return network, "has a zone; write the address without it: " + ip.WithZone("").String()
		}
		ip = ip.Unmap()
		network = netip.PrefixFrom(ip, ip.BitLen())
	}
	if ip := network.Addr(); ip.Is4In6() {
		if network.Bits() < 96 {
			return network, "contains IPv4 and other addresses; write the IPv4 network, such as 172.30.0.0/24"
		}
		return network, fmt.Sprintf("is an IPv4-mapped IPv6 address; write %s%v", strings.TrimSuffix(text, plain), netip.PrefixFrom(ip.Unmap(), network.Bits()-96))
	}
	if masked := network.Masked(); masked != network {
		return network, fmt.Sprintf("has bits after the first %d; write %s%v for the network, or %v for one client",
			network.Bits(), strings.TrimSuffix(text, plain), masked, network.Addr())
	}
	if !public && !slices.ContainsFunc(clientRanges, func(r netip.Prefix) bool { return contains(r, network) }) {
		return network, fmt.Sprintf("is not private; if all programs there may use the proxy without a password, write %s%s", publicPrefix, plain)
	}
	return network, ""
}

// Spelling returns ip in the form that ParseClients accepts.
func Spelling(ip netip.Addr) string {
	if _, why := parseClients(ip.String()); why != "" {
		return publicPrefix + ip.String()
	}
	return ip.String()
}

// contains reports whether a contains all of b.
func contains(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// Within reports whether other admits all of c.
func (c Clients) Within(other Clients) bool {
	return !slices.ContainsFunc(c, func(n netip.Prefix) bool {
		return !slices.ContainsFunc(other, func(o netip.Prefix) bool { return contains(o, n) })
	})
}

// Everybody returns the networks that are so large that they contain much of the internet.
func (c Clients) Everybody() []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(c), func(n netip.Prefix) bool { return n.Bits() >= localnet.MinNetwork })
}

// Check returns a *ClientError unless c admits the client at addr. A network does not admit
// a router or this machine itself: connections to a port that a container publishes or a
// router forwards come from their addresses, whoever makes them. A listed address does.
func (c Clients) Check(addr net.Addr) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return &ClientError{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if slices.ContainsFunc(c, func(n netip.Prefix) bool { return n.IsSingleIP() && n.Contains(ip) }) {
		return nil
	}
	own, router, err := localnet.IsRelay(ip)
	admitted := inAny(c, ip)
	if admitted && (ip.IsLoopback() || err == nil && !own && !router) {
		return nil
	}
	return &ClientError{IP: ip, Own: own, Relays: own || router || admitted}
}

// ClientError reports a client that Check does not admit.
type ClientError struct {
	IP     netip.Addr // invalid if it is redacted
	Own    bool       // IP is an address of this machine
	Relays bool       // IP may forward the connections of others
}

func (e *ClientError) Error() string {
	who := "the client"
	if e.IP.IsValid() {
		who += " " + e.IP.String()
	}
	if e.Relays {
		return who + " is a router or this machine itself; as others may be behind it, it is admitted only if its own address is listed"
	}
	return who + " is not admitted"
}
