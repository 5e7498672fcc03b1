package test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// What a peer that comes in is told of the node's services, in both transports: what the node says, and the bit of v2
// where --announce-v2 asks for it.
func TestAnnounceBtcd(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startV1Node(t, w)
	said := servicesSeen(t, w, node.p2p) // without a proxy between them
	for _, flags := range [][]string{
		nil,
		{"--announce-v2", "203.0.113.7:8333"},
		{"--inbound-v1", "always"},
		{"--inbound-v1", "always", "--announce-v2", "203.0.113.7:8333"},
	} {
		v1 := slices.Contains(flags, "--inbound-v1")
		p := startInbound(t, node.p2p, flags...)
		var seen uint64
		if v1 {
			seen = servicesSeen(t, w, p.inbound)
		} else {
			seen = servicesSeen(t, w, p.inbound, "--v2transport")
		}
		want := said
		if slices.Contains(flags, "--announce-v2") {
			want |= nodeP2PV2
		}
		if transport := p.opened(t).Transport; seen != want || transport == "v1" != v1 {
			t.Errorf("%q: services %#x by %s, want %#x", flags, seen, transport, want)
		}
	}
}

// servicesSeen returns what services a btcd sees at addr.
func servicesSeen(t *testing.T, w *wallet, addr string, flags ...string) (services uint64) {
	t.Helper()
	peer := startBtcd(t, "peer", w.params, append([]string{"--nolisten", "--connect=" + addr}, flags...)...)
	defer peer.kill()
	eventually(t, "the peer knows the node's services", func() bool {
		seen := ask[[]struct{ Services string }](t, peer, "getpeerinfo")
		if len(seen) == 0 {
			return false
		}
		var err error
		if services, err = strconv.ParseUint(seen[0].Services, 10, 64); err != nil {
			t.Fatal(err)
		}
		return services != 0
	})
	return services
}
