package test

import (
	"regexp"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// rekeyInterval is the number of packets after which a BIP324 direction rekeys.
const rekeyInterval = 224

// A client without BIP324 syncs from a node that sees a v2 peer, and then follows it: past a rekey in both directions,
// block by block, and with a transaction.
func TestBtcdV1ClientIsAV2PeerToTheNode(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startProxy(t)
	node := startBtcdNode(t, w, "--v2transport")
	node.mine(250) // each block is a message to the client: more than rekeyInterval

	client := startBtcdClient(t, w.params, proxy.addr, node.p2p)
	catchUp(t, client, node)
	for range rekeyInterval + 10 { // the other way as many pings, each answered with a pong
		ask[any](t, client, "ping")
	}
	followBlocks(t, client, node, 20)
	followTransaction(t, client, node, w)

	if p := node.onlyPeer(t); !p.V2 || !p.Inbound {
		t.Errorf("to the node the client is not an inbound v2 peer: %+v", p)
	}
	if p := client.onlyPeer(t); p.V2 {
		t.Errorf("the client itself speaks v2, so this test proves nothing: %+v", p)
	}

	opened := proxy.opened(t)
	if opened.Transport != "v2" || opened.Network != "regtest" || opened.Dest != node.p2p {
		t.Errorf("the proxy logged %+v, want transport v2, network regtest, dest %s", opened, node.p2p)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(opened.SessionID) {
		t.Errorf("the proxy logged session_id %q, want 64 hex digits", opened.SessionID)
	}

	client.kill()
	closed := proxy.closed(t, opened.Session)
	if closed.Transport != "v2" || closed.Dest != node.p2p || closed.Dropped != 0 {
		t.Errorf("the proxy logged %+v, want transport v2, the same dest, nothing dropped", closed)
	}
	if closed.MessagesToClient <= rekeyInterval || closed.MessagesToPeer <= rekeyInterval {
		t.Errorf("%d messages to the client and %d to the peer: no rekey",
			closed.MessagesToClient, closed.MessagesToPeer)
	}
	if closed.BytesToClient == 0 || closed.BytesToPeer == 0 {
		t.Errorf("%d bytes to the client and %d to the peer", closed.BytesToClient, closed.BytesToPeer)
	}
}

// The same for an eavesdropper between proxy and node, who finds nothing of v1, on another network, whose magic the
// proxy learns from the client.
func TestAnObserverReadsNothing(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.SimNetParams)
	proxy := startProxy(t)
	node := startBtcdNode(t, w, "--v2transport")
	node.mine(110)
	observer := startRecorder(t, node.p2p)

	client := startBtcdClient(t, w.params, proxy.addr, observer.addr)
	catchUp(t, client, node)
	followBlocks(t, client, node, 5)
	followTransaction(t, client, node, w)

	if opened := proxy.opened(t); opened.Transport != "v2" || opened.Network != "simnet" {
		t.Errorf("the proxy logged %+v, want transport v2, network simnet", opened)
	}
	for _, conn := range observer.connections() {
		requireUnreadable(t, conn, w.params)
		toNode, fromNode := conn.bytes()
		t.Logf("%d bytes to the node, %d from it", len(toNode), len(fromNode))
	}
}
