package test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// Core, which speaks v2, connects to a Core without v2. The session id that it shows is the one in the proxy's log and
// status, so nobody is in the middle.
func TestInboundCore(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	addr := freeAddr(t)
	node := startBitcoind(t, "node", "-bind="+addr, "-connect=0", "-listen=1", "-v2transport=0")
	node.mine = func(blocks int) []string {
		return ask[[]string](t, node, "generatetoaddress", blocks, w.address.EncodeAddress())
	}
	node.mine(firstTip)
	p := startInbound(t, addr, "--status", "127.0.0.1:0")
	status := p.await(t, "the status page", func(e event) bool { return e.Msg == "status page" }).Addr
	observer := startRecorder(t, p.inbound)
	client := startBitcoind(t, "peer", "-listen=0", "-v2transport=1", "-connect="+observer.addr)
	catchUp(t, client, node)
	followBlocks(t, client, node, 5)
	followTransaction(t, client, node, w)

	seen, opened := client.onlyPeer(t), p.opened(t)
	if seen.Transport != "v2" || len(seen.SessionID) != 64 || seen.SessionID != opened.SessionID {
		t.Errorf("to the peer the node is %+v, and the proxy logged %+v, want v2 with the same session id", seen, opened)
	}
	if shown := inboundSessions(t, status); len(shown) != 1 || shown[0] != seen.SessionID {
		t.Errorf("the status has inbound sessions %q, want %s", shown, seen.SessionID)
	}
	if seen := node.onlyPeer(t); seen.Transport != "v1" || !seen.Inbound {
		t.Errorf("the node does not speak v1, so this test proves nothing: %+v", seen)
	}
	client.kill()
	for _, conn := range observer.connections() {
		requireUnreadable(t, conn, w.params)
	}
}

// inboundSessions returns the ids of the peers' sessions in the status.
func inboundSessions(t *testing.T, addr string) (ids []string) {
	t.Helper()
	r, err := http.Get("http://" + addr + "/api/status")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var status struct {
		Sessions []struct {
			Inbound   bool   `json:"inbound"`
			SessionID string `json:"session_id"`
		} `json:"sessions"`
	}
	if err := json.NewDecoder(r.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Sessions {
		if s.Inbound {
			ids = append(ids, s.SessionID)
		}
	}
	return ids
}

// Core's own connection, out through the SOCKS side and in again at an address that the proxy does not know as its own:
// the nonce in VERSION passes unaltered, so Core recognises itself and hangs up.
func TestInboundSelfConnection(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := startInbound(t, addr, "--allow", "127.0.0.1")
	router := startRecorder(t, p.inbound)
	core := startBitcoind(t, "node", slices.Concat(recipeArgs(t, "Bitcoin Core", "bitcoind", p.addr),
		[]string{"-bind=" + addr, "-addnode=localhost:" + port(t, router.addr), "-debug=net"})...)
	core.awaitLine(t, "it recognises itself", func(line string) bool { return strings.Contains(line, "connected to self at") })
	for _, inbound := range []bool{false, true} {
		e := p.await(t, "a session", func(e event) bool { return e.Msg == "session opened" && e.Inbound == inbound })
		if e.Transport != "v2" {
			t.Errorf("the session is %+v, want v2", e)
		}
	}
	requireUnreadable(t, router.connections()[0], &chaincfg.RegressionNetParams)
}
