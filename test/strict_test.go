package test

import (
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// A client that speaks v2 falls back to v1 if that fails. To the proxy its second attempt is an ordinary v1 client, so
// it gets v2 or nothing: the proxy makes the client strict.
func TestAV2ClientCannotGoBackToV1(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w)
	node.mine(10)
	observer := startRecorder(t, node.p2p)
	proxy := startProxy(t)
	client := startBtcdClient(t, w.params, proxy.addr, observer.addr, "--v2transport")
	requireNoWayBack(t, proxy, observer, client, node)
}

// The same with Core, which retries at once.
func TestACoreV2ClientCannotGoBackToV1(t *testing.T) {
	addr := freeAddr(t)
	node := startBitcoind(t, "node", "-listen=1", "-bind="+addr, "-connect=0", "-v2transport=0")
	w := newWallet(t, &chaincfg.RegressionNetParams)
	ask[[]string](t, node, "generatetoaddress", 10, w.address.EncodeAddress())
	observer := startRecorder(t, addr)
	proxy := startProxy(t)
	client := startBitcoind(t, "client", "-listen=0", "-proxy="+proxy.addr, "-noonion", "-v2transport=1", "-debug=net",
		"-connect=localhost:"+port(t, observer.addr))
	client.awaitLine(t, "the client falls back to v1", func(line string) bool {
		return strings.Contains(line, "retrying with v1 transport protocol")
	})
	requireNoWayBack(t, proxy, observer, client, node)
}

// requireNoWayBack waits until a v2 attempt and then a v1 attempt of the client fail, and checks that the node, which
// speaks only v1, got no v1.
func requireNoWayBack(t *testing.T, proxy *proxy, observer *recorder, client, node *node) {
	t.Helper()
	if opened := proxy.opened(t); opened.Transport != "passthrough" {
		t.Errorf("the proxy logged %+v, want transport passthrough: the client's own v2", opened)
	}
	refused := proxy.await(t, "the client's v1 attempt is refused", func(e event) bool {
		return e.Msg == "session refused" && strings.Contains(e.Hint, "--v1-fallback")
	})
	t.Logf("reason %q, hint %q", refused.Reason, refused.Hint)

	conns := observer.connections()
	if len(conns) < 2 {
		t.Errorf("%d connections to the node, want at least one for each attempt", len(conns))
	}
	for _, conn := range conns {
		requireUnreadable(t, conn, &chaincfg.RegressionNetParams)
		if toNode, _ := conn.bytes(); len(toNode) < 64 {
			t.Errorf("only %d bytes went to the node: less than a v2 key, so this test proves nothing", len(toNode))
		}
	}
	if height := ask[int](t, client, "getblockcount"); height != 0 {
		t.Errorf("the client got %d blocks", height)
	}
	for _, p := range ask[[]peer](t, node, "getpeerinfo") {
		if p.SubVer != "" {
			t.Errorf("the node has read a version message: %+v", p)
		}
	}
}
