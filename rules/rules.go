// Package rules says who may use the proxy and where clients may go: Rules for destinations,
// Clients for clients of listeners that are open to other machines.
package rules

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bip324proxy/internal/localnet"
	"bip324proxy/socks"
)

// Rules say where clients may go. What a rule in Allow matches is allowed;
// otherwise what one in Deny matches is refused; otherwise it is allowed
// (hosts_access(5) does it that way). Without rules everything is allowed.
//
// What a client asks for, a name or an address, is judged before anything else is
// done, and every address that is about to be connected to is judged again, by the
// rules about addresses: both must be allowed. Clients of a listener that is open
// to others reach a private address, one of this machine's or one of a network that
// it is in only if a rule in Allow that is about addresses matches it.
type Rules struct {
	Allow, Deny []Rule
}

// Rule matches some destinations.
type Rule struct {
	text string // as the user wrote it

	// One of these says which hosts.
	any     bool         // all that are asked for
	private bool         // private addresses
	prefix  netip.Prefix // addresses
	name    string       // a name, lower case; with a dot before it all that end so

	first, last uint16 // ports; 0, 0 means any
}

// RuleError is a rule that could not be understood.
type RuleError struct {
	Rule string
	Why  string
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("%q %s; write HOST or HOST:PORT with an address, a network (10.0.0.0/8, [2001:db8::/32]:8333), a name, *.NAME, private, or * for HOST, and a port or two (8333, 8000-8999) for PORT", e.Rule, e.Why)
}

// ParseRule reads HOST or HOST:PORT. HOST is an address, a network, a name,
// "*.NAME" or ".NAME" for all names that end so, "private" for the addresses that
// are not the public internet's, or "*" for whatever a client asks for. PORT is
// one or two with a dash between them. IPv6 needs brackets if a PORT follows. The
// error is a *RuleError.
func ParseRule(text string) (Rule, error) {
	r := Rule{text: text}
	fail := func(why string) (Rule, error) { return Rule{}, &RuleError{text, why} }

	host, ports, hasPorts := strings.Cut(text, ":")
	inner, bracketed := strings.CutPrefix(text, "[")
	switch {
	case bracketed:
		var rest string
		host, rest, bracketed = strings.Cut(inner, "]")
		ports, hasPorts = strings.CutPrefix(rest, ":")
		if !bracketed || rest != "" && !hasPorts || !strings.Contains(host, ":") {
			return fail("has brackets that are not around an IPv6 address")
		}
	case strings.Contains(ports, ":"):
		host, hasPorts = text, false
	}
	if hasPorts && !r.parsePorts(ports) {
		return fail("has no port from 1 to 65535, and no two in order")
	}
	if !r.parseHost(host) {
		return fail("is about no host")
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

// isName says whether name can be a host's. A last label that is a number is that of
// a mistyped address.
func isName(name string) bool {
	for _, label := range strings.Split(name, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return !socks.EndsInNumber(name)
}

// isLocalhost says whether name, as PlainName has it, is one of this machine's own
// (RFC 6761), or one that common systems have for it in /etc/hosts.
func isLocalhost(name string) bool {
	switch name {
	case "localhost", "localhost4", "localhost6", "localhost.localdomain", "localhost4.localdomain4", "localhost6.localdomain6",
		"ip6-localhost", "ip6-loopback", "loopback":
		return true
	}
	return strings.HasSuffix(name, ".localhost")
}

var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// PlainName is what names are compared as.
func PlainName(name string) string { return strings.ToLower(strings.TrimRight(name, ".")) }

// String is the rule as it was written.
func (r Rule) String() string { return r.text }

// matchesIP is false for the zero Addr.
func (r *Rule) matchesIP(ip netip.Addr) bool {
	return ip.IsValid() && (r.private && isPrivate(ip) || r.prefix.Contains(ip))
}

func (r *Rule) matchesName(name string) bool {
	return r.name != "" && (name == r.name || r.name[0] == '.' && strings.HasSuffix(name, r.name))
}

// DeniedError is a destination that a client may not reach.
type DeniedError struct {
	Dest string // what was judged: an address or a name, with a port if there was one
	Rule string // empty if Dest is not for the clients of a public listener

	Local bool  // Dest is this machine's or of a network that it is in
	Err   error // the system did not tell whether Dest is
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

// hostPort is what was judged, without the port 0 of a RESOLVE.
func hostPort(host string, port uint16) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// CheckName judges what a client asks for; port 0 is a RESOLVE's. A name for this machine
// itself is judged like its loopback addresses, both of them, as well. public says that
// the client's listener is open to others than this machine. The error is a
// *DeniedError.
func (r *Rules) CheckName(dest socks.Addr, public bool) error {
	name := PlainName(dest.Host)
	if dest.IP.IsValid() {
		name = ""
	}
	_, denied := r.judge(dest.IP, dest.Port, func(rule *Rule) bool { return rule.any || rule.matchesName(name) })
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

// CheckAddr judges an address that is about to be connected to or, with port 0, told
// to a client. public says that the client's listener is open to others than this
// machine. The error is a *DeniedError.
func (r *Rules) CheckAddr(ip netip.Addr, port uint16, public bool) error {
	ip = ip.Unmap().WithZone("")
	allowed, denied := r.judge(ip, port, func(*Rule) bool { return false })
	switch {
	case denied != nil:
		return &DeniedError{Dest: hostPort(ip.String(), port), Rule: denied.text}
	case public && !allowed && isPrivate(ip):
		return &DeniedError{Dest: ip.String()}
	case public && !allowed:
		if local, err := isLocal(ip); local || err != nil {
			return &DeniedError{Dest: ip.String(), Local: local, Err: err}
		}
	}
	return nil
}

// isLocal reports whether ip, or an IPv4 address that it embeds, is one of this machine's or
// of a network that it is in. The error says that the system does not tell.
func isLocal(ip netip.Addr) (bool, error) {
	for _, ip := range append(embedded(ip), ip) {
		if local, err := localnet.Contains(ip); local || err != nil {
			return local, err
		}
	}
	return false, nil
}

// judge says whether a rule allows ip, which may be invalid, or something else that
// matches knows of, or which one refuses it. What can still be followed by any port,
// port 0, is allowed if one of them is, and refused if all are. A rule that refuses
// an IPv4 address also refuses IPv6 that embeds it.
func (r *Rules) judge(ip netip.Addr, port uint16, matches func(*Rule) bool) (allowed bool, denied *Rule) {
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
