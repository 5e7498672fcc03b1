package test

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// A listener for all addresses takes in peers by IPv6 and by IPv4. A node on IPv4 sees both in 127.128.0.0/9, each at an
// address of its own.
func TestInboundIPv6(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	const machine6, peer6 = "2a01:4f8::9", "2a01:4f8:1::7"
	for _, line := range slices.Concat(internet, []string{
		"addr add 2a01:4f8::9/128 dev lo nodad",
		"addr add 2a01:4f8:1::7/128 dev lo nodad",
	}) {
		command(t, "ip", strings.Fields(line)...)
	}
	route := func(do string) []string {
		return strings.Fields("-6 route " + do + " local 2a01:4f8::9/128 dev lo table local")
	}
	eventually(t, "the kernel's route of the address", func() bool { return exec.Command("ip", route("del")...).Run() == nil })
	command(t, "ip", append(route("add"), "src", peer6)...)
	wire := startCapture(t)
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startV1Node(t, w)
	p := startProxy(t, "--inbound", "[::]:8333="+node.p2p, "--inbound-network", "regtest")
	sources := map[string]bool{}
	for dest, from := range map[string]string{"[" + machine6 + "]:8333": peer6, machine + ":8333": belowIP} {
		peer := startBtcd(t, "peer", w.params, "--nolisten", "--v2transport", "--connect="+dest)
		catchUp(t, peer, node)
		followBlocks(t, peer, node, 3)
		opened := p.await(t, "a session from "+from, func(e event) bool {
			addr, err := netip.ParseAddrPort(e.Peer)
			return e.Msg == "session opened" && e.Inbound && err == nil && addr.Addr().String() == from
		})
		source := netip.MustParseAddrPort(opened.Source).Addr()
		if opened.Transport != "v2" || !netip.MustParsePrefix("127.128.0.0/9").Contains(source) {
			t.Errorf("the session is %+v, want v2 and a source in 127.128.0.0/9", opened)
		}
		sources[source.String()] = true
		peer.kill()
	}
	if len(sources) != 2 {
		t.Errorf("the node sees the two peers at %v, want two addresses", sources)
	}
	outside := 0
	for f, b := range wire.streams() {
		if names := readable(b); f.outside() && names != nil {
			t.Errorf("from %v to %v: readable in %d bytes: %q", f.from, f.to, len(b), names)
		}
		if f.outside() && f.from.Addr().Is6() {
			outside += len(b)
		}
	}
	if outside < 50_000 {
		t.Errorf("the capture has %d bytes of IPv6, want the blocks", outside)
	}
}
