package transparent

import (
	"net/netip"
	"strings"
	"testing"
)

// Connections are redirected to the first listener that they can reach.
func TestTarget(t *testing.T) {
	for listeners, want := range map[string][4]string{ // IPv4 and IPv6 of a user, the same routed
		"127.0.0.1:1":                          {"dnat ip to 127.0.0.1:1"},
		"[::1]:1":                              {1: "dnat ip6 to [::1]:1"},
		"127.0.0.1:1 [::1]:2":                  {"dnat ip to 127.0.0.1:1", "dnat ip6 to [::1]:2"},
		"0.0.0.0:1":                            {"redirect to :1", "", "redirect to :1"},
		"[::]:1":                               {"redirect to :1", "redirect to :1", "redirect to :1", "redirect to :1"},
		"127.0.0.1:1 [::]:2":                   {"dnat ip to 127.0.0.1:1", "redirect to :2", "redirect to :2", "redirect to :2"},
		"192.168.7.1:1 [fd00::1]:2":            {"dnat ip to 192.168.7.1:1", "dnat ip6 to [fd00::1]:2", "dnat ip to 192.168.7.1:1", "dnat ip6 to [fd00::1]:2"},
		"127.0.0.2:1 10.0.0.1:2 [fe80::1%x]:3": {"dnat ip to 127.0.0.2:1", "", "dnat ip to 10.0.0.1:2"},
	} {
		rules := &Rules{}
		for l := range strings.FieldsSeq(listeners) {
			rules.Listeners = append(rules.Listeners, netip.MustParseAddrPort(l))
		}
		got := [4]string{rules.Target(false, false), rules.Target(true, false), rules.Target(false, true), rules.Target(true, true)}
		if got != want {
			t.Errorf("%s: got %q, want %q", listeners, got, want)
		}
	}
}
