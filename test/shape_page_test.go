package test

import (
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// With the two commands of docs/shape.md a client follows its own node through a tunnel.
func TestTunnelOnShapePage(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w)
	node.mine(30)
	front, door := freeAddr(t), freeAddr(t)
	flags := func(begin string, oldnew ...string) []string {
		code := codeOn(t, "shape.md", "How to set it", begin)
		return strings.Fields(strings.NewReplacer(oldnew...).Replace(code))[1:]
	}
	home := startProxy(t, append(flags("bip324-proxy --inbound", "0.0.0.0:8333", front, "127.0.0.1:8335", node.p2p),
		inboundFlags("", "regtest")[2:]...)...)
	laptop := startProxy(t, flags("bip324-proxy --peer", "127.0.0.1:8333", door, "203.0.113.7:8333", front)...)

	client := startBtcd(t, "client", w.params, "--nolisten", "--connect="+door)
	catchUp(t, client, node)
	for name, p := range map[string]*proxy{"home": home, "laptop": laptop} {
		p.await(t, "the tunnel is agreed "+name, func(e event) bool { return strings.HasPrefix(e.Msg, "tunnel agreed") && e.Session == 1 })
	}
	followBlocks(t, client, node, 2)
}
