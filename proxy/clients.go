package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// clientRanges are the ranges that Clients may name as they are: no router of the
// internet delivers packets from them. RFC 6598's 100.64.0.0/10 is not among them, for
// other customers of the same provider have such addresses, too.
var clientRanges = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", // RFC 1918, RFC 4193
	"169.254.0.0/16", "fe80::/10", "127.0.0.0/8", "::1/128",
)

// publicClients is what precedes networks outside of clientRanges.
const publicClients = "public:"

// Clients are the addresses and networks whose clients need no password where a
// listener is open to others than this machine.
type Clients []netip.Prefix

// ClientsError reports an address or a network of clients that is invalid.
type ClientsError struct {
	Text string
	Why  string // and what to write
}

func (e *ClientsError) Error() string { return fmt.Sprintf("%q %s", e.Text, e.Why) }

// ParseClients reads addresses and networks in CIDR notation, such as 172.30.0.5 and
// 172.30.0.0/24. What is not private, link-local or loopback must have "public:" before
// it. The error is a *ClientsError.
func ParseClients(texts []string) (all Clients, err error) {
	for _, text := range texts {
		network, why := parseClients(text)
		if why != "" {
			return nil, &ClientsError{text, why}
		}
		all = append(all, network)
	}
	return all, nil
}

func parseClients(text string) (network netip.Prefix, why string) {
	plain, public := strings.CutPrefix(text, publicClients)
	network, err := netip.ParsePrefix(plain)
	if err != nil {
		ip, err := netip.ParseAddr(plain)
		switch {
		case err != nil:
			return network, "is neither an address nor a network; write them as 172.30.0.5 or 172.30.0.0/24, or fd00:30::/64"
		case ip.Zone() != "":
			return network, "has a zone; write the address without it: " + ip.WithZone("").String()
		}
		ip = ip.Unmap()
		network = netip.PrefixFrom(ip, ip.BitLen())
	}
	if ip := network.Addr(); ip.Is4In6() {
		if network.Bits() < 96 {
			return network, "contains IPv4 addresses and others; write the IPv4 network, such as 172.30.0.0/24"
		}
		return network, fmt.Sprintf("is IPv4 within IPv6; write %s%v", strings.TrimSuffix(text, plain), netip.PrefixFrom(ip.Unmap(), network.Bits()-96))
	}
	if masked := network.Masked(); masked != network {
		return network, fmt.Sprintf("has bits after the first %d; write %s%v for the network, or %v for one client",
			network.Bits(), strings.TrimSuffix(text, plain), masked, network.Addr())
	}
	if !public && !slices.ContainsFunc(clientRanges, func(r netip.Prefix) bool { return contains(r, network) }) {
		return network, fmt.Sprintf("is not private; if all programs there may use the proxy without a password, write %s%s", publicClients, plain)
	}
	return network, ""
}

// contains reports whether all of b is in a.
func contains(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// Within reports whether other admits all of c.
func (c Clients) Within(other Clients) bool {
	return !slices.ContainsFunc(c, func(n netip.Prefix) bool {
		return !slices.ContainsFunc(other, func(o netip.Prefix) bool { return contains(o, n) })
	})
}

// Everybody returns the networks that are so large that they are no networks but the
// internet, or much of it.
func (c Clients) Everybody() (all []netip.Prefix) {
	for _, n := range c {
		if n.Bits() < minNetwork {
			all = append(all, n)
		}
	}
	return all
}

// check returns a *clientError unless c admits the client at addr. A network does not
// admit a router or this machine itself, behind which there may be anybody: a port that
// a container publishes, or a router forwards, has their addresses for those who come
// from elsewhere. An address that is listed admits them.
func (c Clients) check(addr net.Addr) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return &clientError{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	in := func(n netip.Prefix) bool { return n.Contains(ip) }
	if slices.ContainsFunc(c, func(n netip.Prefix) bool { return n.IsSingleIP() && in(n) }) {
		return nil
	}
	own, router, err := isRelay(ip)
	admitted := slices.ContainsFunc(c, in)
	if admitted && (ip.IsLoopback() || err == nil && !own && !router) {
		return nil
	}
	return &clientError{ip: ip, own: own, relays: own || router || admitted}
}

// isRelay reports whether ip is an address of this machine, or of a router that its
// routes name. The error says that the system does not tell.
func isRelay(ip netip.Addr) (own, router bool, err error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, false, err
	}
	for _, each := range addrs {
		if n, ok := each.(*net.IPNet); ok {
			a, _ := netip.AddrFromSlice(n.IP)
			own = own || a.Unmap() == ip
		}
	}
	all, err := routers()
	return own, slices.Contains(all, ip), err
}

// clientError reports a client that is not admitted.
type clientError struct {
	ip     netip.Addr // invalid if it is not to be told
	own    bool       // ip is this machine's
	relays bool       // others may be behind it
}

func (e *clientError) Error() string {
	who := "the client"
	if e.ip.IsValid() {
		who += " " + e.ip.String()
	}
	if e.relays {
		return who + " is a router or this machine itself, and others may be behind it; --clients admits it only by its address"
	}
	return who + " is not in --clients"
}

// isOwnClient reports whether err is that this machine's own address was not admitted,
// from which check asks who answers.
func isOwnClient(err error) bool {
	var e *clientError
	return errors.As(err, &e) && e.own
}

// authHint says how to admit a client that failed to authenticate.
func (s *session) authHint() string {
	e := s.policy.Clients.check(s.client.RemoteAddr())
	if s.hides() {
		e = hidden(e)
	}
	client, ok := e.(*clientError)
	if !ok {
		return ""
	}
	return "some clients, such as Bitcoin Core, can be given no password; " + client.hint()
}

// hint says how to admit the client.
func (e *clientError) hint() string {
	if !e.ip.IsValid() {
		return "if it may use the proxy, add its address to --clients"
	}
	what := e.ip.String()
	if _, why := parseClients(what); why != "" {
		what = publicClients + what
	}
	if e.own {
		return "bip324-proxy check on this machine comes from there, and is nothing to worry about; with some container engines so do connections to a published port: do not publish it"
	}
	if e.relays {
		return "do not publish or forward the proxy's port; if only programs of that machine come from there, add --clients " + what
	}
	return "if it may use the proxy, add --clients " + what
}

// admission reports whether the client needs the password, or returns an error if it is
// not admitted at all: a listener that is open to others takes clients that Policy.Clients has, and
// otherwise those that know the password.
func (s *session) admission() (auth bool, err error) {
	p := s.policy
	if !s.public || len(p.Clients) == 0 && (p.Socks.Auth == nil || s.fixed == "") {
		return p.Socks.Auth != nil, nil
	}
	err = p.Clients.check(s.client.RemoteAddr())
	if err != nil && p.Socks.Auth != nil && s.fixed == "" {
		return true, nil
	}
	return false, err
}
