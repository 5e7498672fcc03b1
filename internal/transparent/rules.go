package transparent

import (
	"fmt"
	"net/netip"
	"strings"
)

// Table is the name of the nftables table that Rules make.
const Table = "bip324_proxy"

// Rules are whose connections the system redirects to the listeners, and what else of them it
// refuses.
type Rules struct {
	Users     []User           // of this machine
	Routed    []string         // interfaces of hosts that this machine is the router of
	Listeners []netip.AddrPort // the transparent ones
}

// User is a user of this machine.
type User struct {
	ID   uint32
	Name string // empty if it has none
}

func (u User) String() string {
	if u.Name == "" {
		return fmt.Sprintf("uid %d", u.ID)
	}
	return fmt.Sprintf("%s (uid %d)", u.Name, u.ID)
}

// Target returns the nft statement that redirects a connection of an address family to the
// listener that such connections reach, or "". A routed connection cannot be redirected to a
// loopback address.
func (r *Rules) Target(six, routed bool) string {
	for _, l := range r.Listeners {
		switch ip := l.Addr(); {
		case ip.IsUnspecified() && (ip.Is6() || !six):
			return fmt.Sprintf("redirect to :%d", l.Port())
		case ip.Is6() != six, routed && ip.IsLoopback(), ip.IsUnspecified(), ip.Zone() != "":
		case six:
			return fmt.Sprintf("dnat ip6 to %v", l)
		default:
			return fmt.Sprintf("dnat ip to %v", l)
		}
	}
	return ""
}

// Script returns the rules for nft -f. Loading them again replaces them.
func (r *Rules) Script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Redirects connections to a bip324-proxy that listens there:")
	for _, l := range r.Listeners {
		fmt.Fprintf(&b, " --transparent %v", l)
	}
	fmt.Fprintln(&b)
	fmt.Fprintf(&b, "# Load:   nft -f FILE, or pipe this into nft -f -\n# Remove: nft delete table inet %s\n\n", Table)
	fmt.Fprintf(&b, "table inet %[1]s {} # so that the next line finds it\ndelete table inet %[1]s\n\ntable inet %[1]s {\n", Table)
	if len(r.Users) > 0 {
		r.writeUsers(&b)
	}
	if len(r.Routed) > 0 {
		r.writeRouted(&b)
	}
	b.WriteString("}\n")
	return b.String()
}

// writeUsers writes the chains of connections from this machine. They match users only: a
// packet that belongs to no socket, such as an answer of the kernel, has none.
func (r *Rules) writeUsers(b *strings.Builder) {
	var ids, names []string
	for _, u := range r.Users {
		ids, names = append(ids, fmt.Sprint(u.ID)), append(names, u.String())
	}
	fmt.Fprintf(b, `	set users {
		type uid
		elements = { %s } # %s
	}

	chain redirect_users {
		type nat hook output priority -100; policy accept;
		meta skuid @users jump redirect_user
	}

	chain redirect_user {
		fib daddr type local return # to this machine itself, not through the proxy
%s	}

	chain fence_users {
		type filter hook output priority 0; policy accept;
		meta skuid @users jump fence_user
	}

	chain fence_user {
		fib daddr type local accept # this machine, and so what was redirected
		ct direction reply accept # the answers to connections from outside
		udp dport 53 accept # DNS; by TCP it goes through the proxy
		meta l4proto tcp reject with tcp reset # connections from before these rules
		reject # UDP, ICMP and all else
	}

	chain fence_interfaces {
		type filter hook postrouting priority 0; policy accept;
		# A socket that is bound to an interface sends there what is for this machine, too.
		meta skuid @users fib daddr type local oiftype != loopback drop
	}
`, strings.Join(ids, ", "), strings.Join(names, ", "), r.redirects(false))
}

// writeRouted writes the chains of connections that this machine forwards.
func (r *Rules) writeRouted(b *strings.Builder) {
	if len(r.Users) > 0 {
		b.WriteString("\n")
	}
	var names []string
	for _, name := range r.Routed {
		names = append(names, `"`+name+`"`)
	}
	fmt.Fprintf(b, `	set interfaces {
		type ifname
		elements = { %s }
	}

	chain redirect_routed {
		type nat hook prerouting priority -100; policy accept;
		iifname @interfaces jump redirect_host
	}

	chain redirect_host {
		fib daddr type local return # to the router itself, not through the proxy
%s	}

	chain fence_routed {
		type filter hook forward priority 0; policy accept;
		iifname @interfaces meta l4proto tcp ct direction reply accept # answers to connections from outside
		iifname @interfaces meta l4proto tcp reject with tcp reset # connections from before these rules
		# UDP, ICMP and all else are forwarded as before.
	}
`, strings.Join(names, ", "), r.redirects(true))
}

// redirects returns a line for each family.
func (r *Rules) redirects(routed bool) (lines string) {
	for _, six := range []bool{false, true} {
		family, match := "IPv4", "ipv4"
		if six {
			family, match = "IPv6", "ipv6"
		}
		if target := r.Target(six, routed); target != "" {
			lines += fmt.Sprintf("\t\tmeta nfproto %s meta l4proto tcp %s\n", match, target)
		} else {
			lines += fmt.Sprintf("\t\t# %s has no --transparent listener here: it is refused below.\n", family)
		}
	}
	return lines
}
