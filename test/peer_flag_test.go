package test

import (
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// A client without a proxy setting connects to a port of the proxy that leads to one peer.
func TestAClientWithoutProxySetting(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w, "--v2transport")
	node.mine(30)
	door := freeAddr(t)
	proxy := startProxy(t, "--peer", door+"="+node.p2p)
	client := startBtcd(t, "client", w.params, "--nolisten", "--connect="+door)
	catchUp(t, client, node)
	followBlocks(t, client, node, 3)

	if p := node.onlyPeer(t); !p.V2 || !p.Inbound {
		t.Errorf("to the node the client is not an inbound v2 peer: %+v", p)
	}
	if opened := proxy.opened(t); opened.Transport != "v2" || opened.Dest != node.p2p {
		t.Errorf("the proxy logged %+v, want transport v2, dest %s", opened, node.p2p)
	}
}
