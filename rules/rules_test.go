package rules

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"bip324proxy/socks"
)

func mustRules(t testing.TB, allow, deny string) (r Rules) {
	t.Helper()
	parse := func(words string) (rules []Rule) {
		for _, text := range strings.Fields(words) {
			rule, err := ParseRule(text)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, rule)
		}
		return rules
	}
	return Rules{Allow: parse(allow), Deny: parse(deny)}
}

// The rules judge the client's destination, and then the address to connect to.
func TestRules(t *testing.T) {
	const yes, no = true, false
	for _, c := range []struct {
		allow, deny   string
		dest          string // requested by the client
		addr          string // to connect to; dest if empty
		local, public bool   // allowed for clients of local and public listeners
	}{
		{"", "", "node.example:8333", "93.184.216.1:8333", yes, yes},
		{"", "", "node.example:8333", "10.0.0.1:8333", yes, no},
		{"", "", "127.0.0.1:8333", "", yes, no},
		{"", "", "[64:ff9b::7f00:1]:8333", "", yes, no},

		{"", "*", "node.example:8333", "93.184.216.1:8333", no, no},
		{"", "*", "93.184.216.1:8333", "", no, no},
		{"", "*:25", "node.example:25", "93.184.216.1:25", no, no},
		{"", "*:25", "[2606:2800::1]:25", "", no, no},
		{"", "*:25", "node.example:8333", "93.184.216.1:8333", yes, yes},
		{"", "*:1-1023", "node.example:1023", "93.184.216.1:1023", no, no},
		{"", "*:1-1023", "node.example:1024", "93.184.216.1:1024", yes, yes},

		{"", "private", "10.0.0.1:8333", "", no, no},
		{"", "private", "node.example:8333", "10.0.0.1:8333", no, no},
		{"", "private", "node.example:8333", "93.184.216.1:8333", yes, yes},
		{"private", "", "10.0.0.1:8333", "", yes, yes},
		{"10.0.0.0/8", "", "node.example:8333", "10.0.0.1:8333", yes, yes},
		{"10.0.0.0/8:8333", "", "10.0.0.1:8334", "", yes, no},
		{"10.0.0.0/8", "private", "10.0.0.1:8333", "", yes, yes},
		{"10.0.0.0/8", "private", "192.168.0.1:8333", "", no, no},
		{"127.0.0.1", "private", "[::ffff:127.0.0.1]:8333", "", yes, yes}, // the same
		{"127.0.0.1", "private", "[64:ff9b::7f00:1]:8333", "", no, no},    // not the same

		{"", "10.0.0.0/8", "10.255.255.255:8333", "", no, no},
		{"", "10.0.0.0/8", "11.0.0.0:8333", "", yes, yes},
		{"", "93.184.216.0/24", "node.example:8333", "93.184.216.1:8333", no, no},
		{"", "93.184.216.0/24", "node.example:8333", "[64:ff9b::5db8:d801]:8333", no, no},
		{"", "93.184.216.0/24", "[2002:5db8:d801::]:8333", "", no, no},
		{"", "93.184.216.1", "[::ffff:93.184.216.1]:8333", "", no, no},
		{"", "[2606:2800::/32]:8333", "[2606:2800::1]:8333", "", no, no},
		{"", "[2606:2800::/32]:8333", "[2606:2800::1]:8334", "", yes, yes},
		{"", "2606:2800::/32", "[2606:2801::1]:8333", "", yes, yes},

		{"", "node.example", "node.example:8333", "93.184.216.1:8333", no, no},
		{"", "node.example", "NODE.Example.:8333", "93.184.216.1:8333", no, no},
		{"", "node.example", "a.node.example:8333", "93.184.216.1:8333", yes, yes},
		{"", "*.node.example", "a.node.example:8333", "93.184.216.1:8333", no, no},
		{"", "*.node.example", "node.example:8333", "93.184.216.1:8333", yes, yes},
		{"", "*.node.example", "anode.example:8333", "93.184.216.1:8333", yes, yes},
		{"", "*.ONION", "name.onion:8333", "93.184.216.1:8333", no, no},
		{"", ".onion", "name.Onion.:8333", "93.184.216.1:8333", no, no},

		// Names of this machine, and other spellings of its addresses.
		{"", "private", "localhost:8333", "127.0.0.1:8333", no, no},
		{"", "private", "LocalHost..:8333", "127.0.0.1:8333", no, no},
		{"", "127.0.0.0/8", "a.b.LOCALHOST.:8333", "", no, no},
		{"", "::1", "localhost:8333", "127.0.0.1:8333", no, no},
		{"", "[::1]:25", "localhost:8333", "127.0.0.1:8333", yes, no},
		{"", "private", "ip6-localhost:8333", "", no, no},
		{"", "private", "localhost6:8333", "", no, no},
		{"", "", "localhost:8333", "", yes, no},
		{"localhost", "", "localhost:8333", "", yes, no},
		{"127.0.0.1 ::1", "private", "localhost:8333", "127.0.0.1:8333", yes, yes},
		{"127.0.0.1", "private", "localhost:8333", "127.0.0.1:8333", no, no},
		{"", "private", "localhost.example:8333", "93.184.216.1:8333", yes, yes},
		{"", "private", "notlocalhost:8333", "93.184.216.1:8333", yes, yes},
		{"", "localhost", "Localhost.:8333", "127.0.0.1:8333", no, no},
		{"", "private", "127.1:8333", "", no, no},
		{"", "127.0.0.1", "0x7f.1.:8333", "", no, no},
		{"", "0.0.0.0", "0:8333", "", no, no},
		{"", "", "2130706433:8333", "", yes, no},

		// Allow only these.
		{"*.node.example", "*", "a.node.example:8333", "93.184.216.1:8333", yes, yes},
		{"*.node.example", "*", "b.example:8333", "93.184.216.1:8333", no, no},
		{"*.node.example", "*", "93.184.216.1:8333", "", no, no},
		{"93.184.216.0/24", "*", "93.184.216.1:8333", "", yes, yes},
		{"93.184.216.0/24", "*", "node.example:8333", "93.184.216.1:8333", no, no}, // refused before the look-up
		{"93.184.216.0/24", "0.0.0.0/0 ::/0", "node.example:8333", "93.184.216.1:8333", yes, yes},
		{"93.184.216.0/24", "0.0.0.0/0 ::/0", "node.example:8333", "151.101.1.1:8333", no, no},
		{"*:8333", "*", "node.example:8333", "93.184.216.1:8333", yes, yes},
		{"*:8333", "*", "node.example:22", "93.184.216.1:22", no, no},

		// An allowed name does not allow a denied address.
		{"*.node.example", "", "a.node.example:8333", "127.0.0.1:8333", yes, no},
		{"*.node.example", "private", "a.node.example:8333", "127.0.0.1:8333", no, no},
		{"*", "", "a.node.example:8333", "127.0.0.1:8333", yes, no},
		{"*:8333", "*", "127.0.0.1:8333", "", yes, no},
		{"*:8333", "127.0.0.0/8", "127.0.0.1:8333", "", no, no},
	} {
		rules := mustRules(t, c.allow, c.deny)
		dest, err := socks.ParseAddr(c.dest)
		if err != nil {
			t.Fatal(err)
		}
		addr := netip.AddrPortFrom(dest.IP, dest.Port)
		if c.addr != "" {
			addr = netip.MustParseAddrPort(c.addr)
		}
		for public, want := range map[bool]bool{false: c.local, true: c.public} {
			err := rules.CheckName(dest, public)
			if err == nil && addr.Addr().IsValid() {
				err = rules.CheckAddr(addr.Addr(), addr.Port(), public)
			}
			if got := err == nil; got != want || !got && !errors.As(err, new(*DeniedError)) {
				t.Errorf("allow %q, deny %q, public %v: %s at %v: got %v", c.allow, c.deny, public, c.dest, addr, err)
			}
		}
	}
}

// A RESOLVE has no port: it is refused if every port would be.
func TestRulesWithoutPort(t *testing.T) {
	for _, c := range []struct {
		allow, deny, host string
		want              bool
	}{
		{"", "", "node.example", true},
		{"", "node.example", "node.example", false},
		{"", "node.example:25", "node.example", true},
		{"*:8333", "*", "node.example", true},
		{"*.other.example:8333", "*", "node.example", false},
		{"", "93.184.216.1", "93.184.216.1", false},
		{"93.184.216.1:8333", "93.184.216.0/24", "93.184.216.1", true},
		{"93.184.216.1:8333", "93.184.216.0/24", "93.184.216.2", false},
	} {
		rules := mustRules(t, c.allow, c.deny)
		ip, _ := netip.ParseAddr(c.host)
		err := rules.CheckName(socks.Addr{Host: c.host, IP: ip}, false)
		if err == nil && ip.IsValid() {
			err = rules.CheckAddr(ip, 0, false)
		}
		if (err == nil) != c.want {
			t.Errorf("allow %q, deny %q: %s: got %v", c.allow, c.deny, c.host, err)
		}
	}
}

var wrongRules = []string{"", ":", ":8333", "*:", "*:0", "*:65536", "*:http", "*:8333-", "*:9-8", "*:-8", "*:1-2-3",
	"10.0.0.0/33", "10.0.0.0/", "10.0.0", "10.0.0.300", "1", ".1", "0x7f000001", "127.0x1", "node.0X1f", "127.1.", "0x", "[10.0.0.1]:8333", "[2001:db8::1", "[2001:db8::1]8333", "[node.example]:8333",
	"2001:db8:::1", "2001:db8::/129", "::ffff:10.0.0.0/104", "fe80::1%eth0", "node..example", "*node.example", "a.*.example", "..onion", "*.", ".", "-%-",
	"node example", "node.example/8", "user@node.example", "http://node.example"}

func TestWrongRules(t *testing.T) {
	for _, text := range wrongRules {
		rule, err := ParseRule(text)
		if err == nil || !strings.HasPrefix(err.Error(), strconv.Quote(text)) || !strings.Contains(err.Error(), "write HOST") {
			t.Errorf("%q: got %+v, %v", text, rule, err)
		}
	}
}

// No text makes a rule that panics, matches a name and an address at once, or changes when it is
// formatted and parsed again.
func FuzzParseRule(f *testing.F) {
	for _, text := range append(wrongRules, "*", "*:8333", "private", "private:1-1023", "10.0.0.0/8", "10.1.2.3:22", "[2001:db8::/32]:8333",
		"2001:db8::1", "::ffff:10.0.0.1", "node.example", "*.node.example:8333", ".onion", "NODE.example.") {
		f.Add(text, "node.example", []byte{10, 0, 0, 1}, uint16(8333))
	}
	f.Fuzz(func(t *testing.T, text, name string, addr []byte, port uint16) {
		rule, err := ParseRule(text)
		if err != nil {
			return
		}
		if rule.String() != text {
			t.Errorf("%q is %q", text, rule)
		}
		ip, ok := netip.AddrFromSlice(addr)
		byName, byIP := rule.matchesName(PlainName(name)), ok && rule.matchesIP(ip.Unmap())
		if byName && byIP || rule.any && (byName || byIP) {
			t.Errorf("%q matches the name %q and the address %v", text, name, ip)
		}
		if byIP && rule.prefix.IsValid() && !netip.MustParsePrefix(rule.prefix.String()).Contains(ip.Unmap()) {
			t.Errorf("%q matches %v", text, ip)
		}
		if port != 0 && rule.matchesPort(port) && rule.last != 0 && (port < rule.first || port > rule.last) {
			t.Errorf("%q matches port %d", text, port)
		}
		if !ok || port == 0 {
			return
		}
		// Denied destinations are refused; allowed ones are not.
		denied := Rules{Deny: []Rule{rule}}
		if err := denied.CheckAddr(ip, port, false); byIP && rule.matchesPort(port) && err == nil {
			t.Errorf("--deny %q lets %v:%d through", text, ip, port)
		}
		allowed := Rules{Allow: []Rule{rule}, Deny: []Rule{rule}}
		if err := allowed.CheckAddr(ip, port, false); byIP && err != nil {
			t.Errorf("--allow %q and --deny of the same: %v", text, err)
		}
	})
}
