package test

import (
	"bytes"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// A client that speaks v2 is passed through: the node gets exactly what it sends and vice versa, so the two agree on
// keys that the proxy does not know.
func TestAV2ClientPassesThroughUntouched(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startProxy(t)
	node := startBtcdNode(t, w, "--v2transport")
	node.mine(110)
	behind := startRecorder(t, node.p2p)
	before := startRecorder(t, proxy.addr)
	client := startBtcdClient(t, w.params, before.addr, behind.addr, "--v2transport")

	catchUp(t, client, node)
	followBlocks(t, client, node, 5)
	followTransaction(t, client, node, w)

	if p := node.onlyPeer(t); !p.V2 {
		t.Errorf("the node does not see a v2 peer: %+v", p)
	}
	if p := client.onlyPeer(t); !p.V2 {
		t.Errorf("the client does not see a v2 peer: %+v", p)
	}
	if opened := proxy.opened(t); opened.Transport != "passthrough" || opened.SessionID != "" {
		t.Errorf("the proxy logged %+v, want transport passthrough and no session_id", opened)
	}

	eventually(t, "both recorders hold the same bytes", func() bool { // some may be in flight
		toProxy, fromProxy := withoutSOCKS(t, before.last())
		toNode, fromNode := behind.last().bytes()
		return bytes.Equal(toProxy, toNode) && bytes.Equal(fromProxy, fromNode)
	})
	requireUnreadable(t, behind.last(), w.params)
}

// withoutSOCKS strips the SOCKS5 negotiation (RFC 1928) from a recorded connection to a proxy: greeting and request one
// way; the choice of no authentication and a reply with an IPv4 address the other way.
func withoutSOCKS(t *testing.T, r *recording) (toProxy, fromProxy []byte) {
	t.Helper()
	toProxy, fromProxy = r.bytes()
	const choice, reply = 2, 10
	if len(toProxy) < 2 || len(fromProxy) < choice+reply {
		t.Fatalf("no SOCKS5 negotiation: % x, % x", toProxy, fromProxy)
	}
	greeting := 2 + int(toProxy[1])
	const beforeName = 5 // VER CMD RSV ATYP LEN; btcd sends every destination as a name
	if len(toProxy) < greeting+beforeName || toProxy[greeting+3] != 3 {
		t.Fatalf("no SOCKS5 request with a name: % x", toProxy)
	}
	request := beforeName + int(toProxy[greeting+4]) + 2
	return toProxy[greeting+request:], fromProxy[choice+reply:]
}
