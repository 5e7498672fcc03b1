package test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// A light client syncs to the first of these heights, follows to the second, and then exits.
const firstTip, lastTip = 250, 255

// tip is what a light client prints, as a line of JSON, at each new tip of its chain: height and hash of the block and,
// depending on the client, the filter or block that it got.
type tip struct {
	Height       int    `json:"height"`
	Hash         string `json:"hash"`
	FilterHeader string `json:"filter_header"`
	Filter       string `json:"filter"` // hex, the compact filter of BIP158
	Block        string `json:"block"`  // hex
}

// follow tests a light client whose only peer is a v2 node, reached through the proxy, as followDirectly does.
// startClient runs it, with the addresses of the proxy and of the node.
func follow(t *testing.T, tells func(nodes tip) tip, startClient func(proxy, node string) *program) {
	t.Helper()
	proxy := startProxy(t)
	dest := ""
	followDirectly(t, tells, func(node string) *program {
		dest = node
		return startClient(proxy.addr, node)
	})
	opened := proxy.opened(t)
	if opened.Transport != "v2" || opened.Network != "regtest" || opened.Dest != dest || opened.SessionID == "" {
		t.Errorf("the proxy logged %+v, want transport v2, network regtest, dest %s, a session_id", opened, dest)
	}
	if closed := proxy.closed(t, opened.Session); closed.Transport != "v2" || closed.Dropped != 0 {
		t.Errorf("the proxy logged %+v, want transport v2, nothing dropped", closed)
	}
}

// followDirectly is followNode with a node on loopback.
func followDirectly(t *testing.T, tells func(nodes tip) tip, startClient func(node string) *program) {
	t.Helper()
	followNode(t, startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport"), tells, startClient)
}

// followNode tests a light client whose only peer is a v2 node. The client syncs the existing chain, follows it block by
// block, and exits cleanly; the node sees a v2 peer. startClient runs it, with the address of the node. For each block
// the client prints exactly what tells picks of the node's answers.
func followNode(t *testing.T, node *node, tells func(nodes tip) tip, startClient func(node string) *program) {
	t.Helper()
	node.mine(firstTip)
	client := startClient(node.p2p)

	requireTip(t, client, node, firstTip, tells)
	if p := node.onlyPeer(t); p.V2 && p.Inbound {
		t.Logf("the node has a v2 peer, %s", p.SubVer)
	} else {
		t.Errorf("to the node the client is not an inbound v2 peer: %+v", p)
	}
	for height := firstTip + 1; height <= lastTip; height++ {
		node.mine(1)
		requireTip(t, client, node, height, tells)
	}
	client.awaitEnd(t)
}

// requireTip waits until the client's tip is at height and checks that it equals the node's.
func requireTip(t *testing.T, client *program, node *node, height int, tells func(tip) tip) {
	t.Helper()
	var got tip
	client.awaitLine(t, "its tip is at the node's height", func(line string) bool {
		got = tip{}
		return json.Unmarshal([]byte(line), &got) == nil && got.Height == height
	})
	const regular = 0 // the only filter type in use
	hash := ask[string](t, node, "getblockhash", height)
	want := tells(tip{
		Height:       height,
		Hash:         hash,
		FilterHeader: ask[string](t, node, "getcfilterheader", hash, regular),
		Filter:       ask[string](t, node, "getcfilter", hash, regular),
		Block:        ask[string](t, node, "getblock", hash, 0),
	})
	if got != want {
		t.Errorf("the client has\n%+v, want the node's\n%+v", got, want)
	}
}

// awaitEnd waits until the program exits by itself with code 0.
func (p *program) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%s is still running after %v", p.name, patience)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with exit code %d, want 0", p.name, code)
	}
}
