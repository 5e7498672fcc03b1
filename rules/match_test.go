package rules

import (
	"net/netip"
	"testing"

	"bip324proxy/socks"
)

func parsed(t *testing.T, text string) Rule {
	t.Helper()
	r, err := ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMatches(t *testing.T) {
	for rule, dests := range map[string]map[string]bool{
		"*":          {"a.onion:8333": true, "192.0.2.1:8333": true},
		"*:8333":     {"a.onion:8333": true, "a.onion:8334": false},
		"*.onion":    {"a.onion:8333": true, "A.ONION.:1": true, "onion:8333": false, "a.onion.example:8333": false, "192.0.2.1:8333": false},
		"10.0.0.0/8": {"10.1.2.3:8333": true, "[::ffff:10.1.2.3]:8333": true, "11.0.0.1:8333": false, "name:8333": false, "localhost:8333": false},
		"fe80::/10":  {"[fe80::1%eth0]:8333": true},
		"private":    {"192.168.1.1:8333": true, "8.8.8.8:8333": false},
	} {
		for dest, want := range dests {
			addr, err := socks.ParseAddr(dest)
			if err != nil {
				t.Fatal(err)
			}
			if parsed(t, rule).Matches(addr) != want {
				t.Errorf("%s matches %s: want %v", rule, dest, want)
			}
		}
	}
	if !parsed(t, "a.test:8333").Matches(socks.Addr{Host: "a.test"}) {
		t.Error("a RESOLVE is not for any port")
	}
	if mapped := netip.MustParseAddr("::ffff:10.1.2.3"); !parsed(t, "10.0.0.0/8").Matches(socks.Addr{Host: mapped.String(), IP: mapped, Port: 8333}) {
		t.Error("a route to IPv4 addresses is not for a mapped one")
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		rule, other   string
		covers, under bool // under: rule matches a name under .onion
	}{
		{"*", "*.onion", true, true},
		{"*", "*", true, true},
		{"*", "10.0.0.0/8:8333", true, true},
		{"*:8333", "*", false, true},
		{"*:8000-8999", "*.onion:8333", true, true},
		{"*:8333", "*.onion:8000-8999", false, true},
		{"*.onion", "*", false, true},
		{"*.onion", "*.onion", true, true},
		{"*.onion", ".ONION", true, true},
		{"*.onion", "a.onion", true, true},
		{"*.onion", "*.a.onion:8333", true, true},
		{"a.onion", "*.onion", false, true},
		{"a.onion", "b.onion", false, true},
		{"*.i2p", "*.onion", false, false},
		{"*.i2p", "192.0.2.1", false, false},
		{"192.0.2.1", "a.test", false, false},
		{"192.0.2.0/24", "192.0.2.1", true, false},
		{"192.0.2.1", "192.0.2.0/24", false, false},
		{"192.0.2.0/24", "private", false, false},
		{"private", "private", true, false},
		{"private", "10.1.0.0/16", true, false},
		{"private", "169.254.1.1", true, false},
		{"private", "8.0.0.0/6", false, false},
		{"private", "*.test", false, false},
	} {
		if r := parsed(t, c.rule); r.Covers(parsed(t, c.other)) != c.covers || r.MatchesUnder(".onion") != c.under {
			t.Errorf("%s covers %s: want %v; matches under .onion: want %v", c.rule, c.other, c.covers, c.under)
		}
	}
}

// The zero Rule matches nothing.
func TestZeroRule(t *testing.T) {
	var zero Rule
	for _, other := range []Rule{Any, parsed(t, "192.0.2.1"), parsed(t, "a.test"), parsed(t, "private")} {
		if zero.Covers(other) {
			t.Errorf("it covers %s", other)
		}
	}
	for _, dest := range []socks.Addr{{Host: "a.test", Port: 8333}, {Host: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1"), Port: 8333}} {
		if zero.Matches(dest) {
			t.Errorf("it matches %v", dest)
		}
	}
}
