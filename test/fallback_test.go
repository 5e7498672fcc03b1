package test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// By default the proxy refuses a node without v2 rather than speak plaintext: the user learns why and what to set, and
// the node never sees a v1 message.
func TestAV1NodeIsRefusedByDefault(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startProxy(t)
	node := startBtcdNode(t, w)
	node.mine(10)
	observer := startRecorder(t, node.p2p)
	client := startBtcdClient(t, w.params, proxy.addr, observer.addr)

	// About once in 1000 runs the node takes our random key for the header of an incomplete message and stays silent; the
	// refusal then has another reason. The client retries after some seconds.
	refused := proxy.await(t, "session refused because the peer hung up", func(e event) bool {
		return e.Msg == "session refused" && strings.Contains(e.Reason, "hung up")
	})
	if refused.Level != "INFO" || refused.Dest != observer.addr ||
		!strings.Contains(refused.Hint, "--v1-fallback always") {
		t.Errorf("the proxy logged %+v, want a warning about %s with the hint --v1-fallback always", refused, observer.addr)
	}
	t.Logf("reason %q, hint %q", refused.Reason, refused.Hint)

	if peers := ask[[]peer](t, client, "getpeerinfo"); len(peers) != 0 {
		t.Errorf("the client has peers: %+v", peers)
	}
	if height := ask[int](t, client, "getblockcount"); height != 0 {
		t.Errorf("the client got %d blocks", height)
	}
	for _, conn := range observer.connections() {
		requireUnreadable(t, conn, w.params)
		if toNode, _ := conn.bytes(); len(toNode) < 64 {
			t.Errorf("only %d bytes went to the node: less than a v2 key, so this test proves nothing", len(toNode))
		}
	}
}

// With --v1-fallback always the same client syncs in plaintext. v2 was tried first, on separate connections that
// carried nothing of v1, and the node got the client's version message exactly once.
func TestAV1NodeIsServedIfTheUserSaysSo(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startProxy(t, "--v1-fallback", "always")
	node := startBtcdNode(t, w)
	node.mine(110)
	observer := startRecorder(t, node.p2p)
	client := startBtcdClient(t, w.params, proxy.addr, observer.addr)

	catchUp(t, client, node)
	followBlocks(t, client, node, 2)
	followTransaction(t, client, node, w)

	if p := node.onlyPeer(t); p.V2 || !p.Inbound {
		t.Errorf("to the node the client is not an inbound v1 peer: %+v", p)
	}
	if opened := proxy.opened(t); opened.Transport != "v1" || opened.Network != "regtest" || opened.SessionID != "" {
		t.Errorf("the proxy logged %+v, want transport v1, network regtest, no session_id", opened)
	}

	conns := observer.connections()
	if len(conns) < 2 {
		t.Fatalf("got %d connections to the node, want one that tries v2 and one that speaks v1", len(conns))
	}
	requireUnreadable(t, conns[0], w.params)
	versions := 0
	for _, conn := range conns {
		toNode, _ := conn.bytes()
		versions += bytes.Count(toNode, v1Header(w.params, "version"))
	}
	if versions != 1 {
		t.Errorf("the node got %d version messages over %d connections, want 1", versions, len(conns))
	}
}
