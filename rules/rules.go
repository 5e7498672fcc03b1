// Package rules decides who may use the proxy and where clients may go: Clients for clients
// on other machines, Rules for destinations.
package rules

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bip324proxy/internal/localnet"
	"bip324proxy/socks"
)

// Rules decide where clients may go. A destination is allowed if a rule in Allow matches;
// otherwise denied if one in Deny matches; otherwise allowed, as in hosts_access(5).
// Without rules every destination is allowed.
//
// The destination that a client asks for, a name or an address, is checked first. Every
// address to connect to is checked again, by the rules about addresses. Both must be
// allowed. Clients of a listener that other machines can reach need an Allow rule about
// addresses for a private address, and for one of this machine or its networks.
type Rules struct {
	Allow, Deny []Rule
}

// Rule matches some destinations.
type Rule struct {
	text string // as the user wrote it

	// One of these is set.
	any     bool         // every destination that a client asks for
	private bool         // private addresses
	prefix  netip.Prefix // addresses
	name    string       // a name in lower case; with a leading dot all names that end in it

	first, last uint16 // ports; 0, 0 means any
}

// ParseRule parses HOST or HOST:PORT. HOST is an address, a network, a name, "*.NAME" or
// ".NAME" for all names that end in .NAME, "private" for addresses that are not public, or
// "*" for every destination that a client asks for. PORT is a port or a range with a dash.
// IPv6 needs brackets if a PORT follows.
func ParseRule(text string) (Rule, error) {
	r := Rule{text: text}
	fail := func(why string) (Rule, error) {
		return Rule{}, fmt.Errorf("%q %s; write HOST or HOST:PORT with an address, a network (10.0.0.0/8, [2001:db8::/32]:8333), a name, *.NAME, private, or * for HOST, and a port or a range (8333, 8000-8999) for PORT", text, why)
	}
	host, ports, hasPorts := strings.Cut(text, ":")
	inner, bracketed := strings.CutPrefix(text, "[")
	switch {
	case bracketed:
		var rest string
		host, rest, bracketed = strings.Cut(inner, "]")
		ports, hasPorts = strings.CutPrefix(rest, ":")
		if !bracketed || rest != "" && !hasPorts || !strings.Contains(host, ":") {
			return fail("has brackets without an IPv6 address in them")
		}
	case strings.Contains(ports, ":"):
		host, hasPorts = text, false
	}
	if hasPorts && !r.parsePorts(ports) {
		return fail("has an invalid port or range; ports are 1 to 65535")
	}
	if !r.parseHost(host) {
		return fail("has an invalid host")
	}
	return r, nil
}

func (r *Rule) parsePorts(s string) bool {
	first, last, two := strings.Cut(s, "-")
	if !two {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	r.first, r.last = uint16(a), uint16(b)
	return err1 == nil && err2 == nil && 0 < a && a <= b
}

func (r *Rule) parseHost(host string) bool {
	switch host {
	case "*":
		r.any = true
		return true
	case "private":
		r.private = true
		return true
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		r.prefix = prefix.Masked()
		return !prefix.Addr().Is4In6()
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		r.prefix = netip.PrefixFrom(ip, ip.BitLen())
		return ip.Zone() == ""
	}
	r.name = PlainName(strings.TrimPrefix(host, "*"))
	return isName(strings.TrimPrefix(r.name, ".")) && (r.name == PlainName(host) || r.name[0] == '.')
}

var hostName = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

// isName reports whether name is a valid host name. One whose last label is a number is a
// mistyped address.
func isName(name string) bool { return hostName.MatchString(name) && !socks.EndsInNumber(name) }

// isLocalhost reports whether name, from PlainName, stands for this machine by RFC 6761 or
// in the /etc/hosts of common systems.
func isLocalhost(name string) bool {
	switch name {
	case "localhost", "localhost4", "localhost6", "localhost.localdomain", "localhost4.localdomain4", "localhost6.localdomain6",
		"ip6-localhost", "ip6-loopback", "loopback":
		return true
	}
	return strings.HasSuffix(name, ".localhost")
}

var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// PlainName returns name in the form in which names are compared.
func PlainName(name string) string { return strings.ToLower(strings.TrimRight(name, ".")) }

// String returns the rule as the user wrote it.
func (r Rule) String() string { return r.text }

// matchesIP reports whether r matches ip. It never matches the zero Addr.
func (r *Rule) matchesIP(ip netip.Addr) bool {
	return ip.IsValid() && (r.private && IsPrivate(ip) || r.prefix.Contains(ip))
}

func (r *Rule) matchesName(name string) bool {
	return r.name != "" && (name == r.name || r.name[0] == '.' && strings.HasSuffix(name, r.name))
}

// DeniedError reports a destination that a client may not connect to.
type DeniedError struct {
	Dest string // an address or a name, with the port if there is one
	Rule string // in Deny; empty if Dest is private or local, and the client's listener public

	Local bool  // Dest is an address of this machine or its networks
	Err   error // why it is unknown whether Dest is
}

func (e *DeniedError) Error() string {
	what := "is a private address"
	switch {
	case e.Rule != "":
		return fmt.Sprintf("%s is denied by the rule %s", e.Dest, e.Rule)
	case e.Err != nil:
		return fmt.Sprintf("%s may be an address of this machine, whose addresses are unknown (%v); the client's listener is open to other machines", e.Dest, e.Err)
	case e.Local:
		what = "is an address of this machine or of one of its networks"
	}
	return fmt.Sprintf("%s %s, and the client's listener is open to other machines", e.Dest, what)
}

// Unwrap returns Err.
func (e *DeniedError) Unwrap() error { return e.Err }

// hostPort returns host and port, without the port 0 of a RESOLVE.
func hostPort(host string, port uint16) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// CheckName checks the destination that a client asks for; port 0 is a RESOLVE's. A name for
// this machine must pass CheckAddr with both loopback addresses, too. public says that other
// machines can reach the client's listener. The error is a *DeniedError.
func (r *Rules) CheckName(dest socks.Addr, public bool) error {
	name := PlainName(dest.Host)
	if dest.IP.IsValid() {
		name = ""
	}
	_, denied := r.match(dest.IP, dest.Port, func(rule *Rule) bool { return rule.any || rule.matchesName(name) })
	if denied != nil {
		return &DeniedError{Dest: hostPort(dest.Host, dest.Port), Rule: denied.text}
	}
	if isLocalhost(name) {
		for _, ip := range loopbacks {
			if err := r.CheckAddr(ip, dest.Port, public); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckAddr checks an address before a connection or, with port 0, before the answer to a
// RESOLVE. public says that other machines can reach the client's listener. The error is a
// *DeniedError.
func (r *Rules) CheckAddr(ip netip.Addr, port uint16, public bool) error {
	ip = ip.Unmap().WithZone("")
	allowed, denied := r.match(ip, port, func(*Rule) bool { return false })
	switch {
	case denied != nil:
		return &DeniedError{Dest: hostPort(ip.String(), port), Rule: denied.text}
	case public && !allowed && IsPrivate(ip):
		return &DeniedError{Dest: ip.String()}
	case public && !allowed:
		if local, err := isLocal(ip); local || err != nil {
			return &DeniedError{Dest: ip.String(), Local: local, Err: err}
		}
	}
	return nil
}

// isLocal reports whether ip, or an IPv4 address that it embeds, belongs to this machine or
// one of its networks. An error means that the system does not tell.
func isLocal(ip netip.Addr) (bool, error) {
	for _, ip := range append(embedded(ip), ip) {
		if local, err := localnet.Contains(ip); local || err != nil {
			return local, err
		}
	}
	return false, nil
}

// match reports whether a rule in Allow matches ip, which may be invalid, or matches
// returns true for it; otherwise denied is the first such rule in Deny. Port 0, of a
// RESOLVE, stands for any port: it is allowed if one port is, and denied if all are. A rule
// that denies an IPv4 address also denies IPv6 that embeds it.
func (r *Rules) match(ip netip.Addr, port uint16, matches func(*Rule) bool) (allowed bool, denied *Rule) {
	ip = ip.WithZone("") // no prefix contains an address with one
	for i := range r.Allow {
		rule := &r.Allow[i]
		if (matches(rule) || rule.matchesIP(ip)) && (port == 0 || rule.matchesPort(port)) {
			return true, nil
		}
	}
	for i := range r.Deny {
		rule := &r.Deny[i]
		if (matches(rule) || rule.matchesIP(ip) || slices.ContainsFunc(embedded(ip), rule.matchesIP)) && rule.matchesPort(port) {
			return false, rule
		}
	}
	return false, nil
}

func (r *Rule) matchesPort(port uint16) bool {
	return r.last == 0 || r.first <= port && port <= r.last
}
