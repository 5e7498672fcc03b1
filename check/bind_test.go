package check

import (
	"net/netip"
	"strings"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// With a source of connections, the check of the network is whether this machine has it, and a peer is
// not connected to from elsewhere.
func TestBind(t *testing.T) {
	here := &Subject{Policy: proxy.Policy{Bind: proxy.Bind{IPv4: netip.MustParseAddr("127.0.0.1")}}}
	if r := here.network(); r.State != OK || !strings.Contains(r.What, "127.0.0.1") {
		t.Errorf("got %+v", r)
	}
	for dest, says := range map[string]string{
		"203.0.113.1:8333":    "connections must leave from 192.0.2.1: this machine does not have that address",
		"[2001:db8::1]:8333":  "no source address of the destination's family",
		"[::ffff:1.2.3.4]:83": "connections must leave from 192.0.2.1",
	} {
		absent := &Subject{Policy: proxy.Policy{Bind: proxy.Bind{IPv4: netip.MustParseAddr("192.0.2.1")}}}
		if r := absent.network(); r.State != Failed || !strings.Contains(r.What, "192.0.2.1") || !strings.Contains(r.Hint, "--bind") {
			t.Errorf("got %+v", r)
		}
		target, err := ParseTarget(dest, transport.NetworkName([4]byte{0xf9, 0xbe, 0xb4, 0xd9}))
		if err != nil {
			t.Fatal(err)
		}
		report := PeerReport(t.Context(), absent, target)
		if last := report.Checks[len(report.Checks)-1]; report.OK || last.Name != "connect" || !strings.Contains(last.What, says) || !strings.Contains(last.Hint, "--bind") {
			t.Errorf("%s: got %+v", dest, last)
		}
	}
}
