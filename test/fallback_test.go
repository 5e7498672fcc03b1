package test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// By default the proxy would rather serve nobody than speak plaintext: a node without v2 is refused, the user is
// told why and what to do, and the node never sees a v1 message.
func TestAV1NodeIsRefusedByDefault(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startProxy(t)
	node := startBtcdNode(t, w)
	node.mine(10)
	observer := startRecorder(t, node.p2p)
	client := startBtcdClient(t, w.params, proxy.addr, observer.addr)

	// Once in about 1000 the node takes our random key for the header of a message that is yet to come and stays
	// silent; the refusal then has another reason. The client tries again after some seconds.
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
			t.Errorf("only %d bytes went to the node: not even a v2 key, so this test shows nothing", len(toNode))
		}
	}
}

// With --v1-fallback always the same client syncs in the clear. v2 was tried first, on a connection of its own that
// carried nothing of v1, and the node got the client's version message once, not twice.
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
		t.Fatalf("%d connections to the node, want one that tries v2 and one that speaks v1", len(conns))
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
