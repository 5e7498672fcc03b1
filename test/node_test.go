package test

import (
	"bip324proxy/test/rpc"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

const rpcUser, rpcPassword = "user", "password"

// node is a running Bitcoin program, at either end of the connection.
type node struct {
	*program
	rpc  string // URL of its JSON-RPC server
	p2p  string // listening address; empty if it does not listen
	mine func(n int) []string
}

// startBtcd runs btcd with an empty configuration and a new data directory. It opens no connection by itself.
func startBtcd(t *testing.T, name string, params *chaincfg.Params, flags ...string) *node {
	t.Helper()
	return startBtcdIn(t, t.TempDir(), "127.0.0.1:0", name, binaries.btcd, params, flags...)
}

// startBtcdIn is startBtcd with a data directory, the address of the RPC server and the path of btcd.
func startBtcdIn(t *testing.T, dir, rpc, name, path string, params *chaincfg.Params, flags ...string) *node {
	t.Helper()
	config := filepath.Join(dir, "empty.conf")
	if err := os.WriteFile(config, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	n := &node{}
	n.program = start(t, name, path, append([]string{
		"--" + params.Name, "--configfile=" + config, "--datadir=" + dir, "--logdir=" + dir,
		"--notls", "--rpcuser=" + rpcUser, "--rpcpass=" + rpcPassword, "--rpclisten=" + rpc,
		"--nodnsseed", "--trickleinterval=100ms", "--utxocachemaxsize=10",
	}, flags...)...)
	n.rpc = "http://" + n.awaitAddr(t, "RPC server listening on ")
	return n
}

// startBtcdNode runs a btcd that accepts peers and mines to w on request.
func startBtcdNode(t *testing.T, w *wallet, flags ...string) *node {
	t.Helper()
	n := startBtcd(t, "node", w.params,
		append([]string{"--listen=127.0.0.1:0", "--miningaddr=" + w.address.EncodeAddress()}, flags...)...)
	n.p2p = n.awaitAddr(t, "CMGR: Server listening on ")
	n.mine = func(blocks int) []string { return ask[[]string](t, n, "generate", blocks) }
	return n
}

// startBtcdClient runs a btcd whose only peer is dest, reached through the SOCKS proxy at proxyAddr, as in
// docs/clients.md.
func startBtcdClient(t *testing.T, params *chaincfg.Params, proxyAddr, dest string, flags ...string) *node {
	t.Helper()
	return startBtcd(t, "client", params, slices.Concat(
		recipeArgs(t, "btcd", "btcd", proxyAddr), []string{"--nolisten", "--connect=" + dest}, flags)...)
}

// awaitAddr waits until a program that was given port 0 prints its listening address.
func (p *program) awaitAddr(t *testing.T, prefix string) string {
	t.Helper()
	line := p.awaitLine(t, prefix, func(line string) bool { return strings.Contains(line, prefix) })
	_, addr, _ := strings.Cut(line, prefix)
	return addr
}

// call makes a JSON-RPC call and decodes the answer into result.
func (n *node) call(result any, method string, params ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return rpc.Node{URL: n.rpc, User: rpcUser, Password: rpcPassword}.Call(ctx, result, method, params...)
}

// ask is call for calls that must succeed.
func ask[T any](t *testing.T, n *node, method string, params ...any) T {
	t.Helper()
	var result T
	if err := n.call(&result, method, params...); err != nil {
		t.Fatalf("%s: %v", n.name, err)
	}
	return result
}

// peer is the part of a getpeerinfo entry that the tests read. btcd and Core name the transport differently.
type peer struct {
	Inbound   bool   `json:"inbound"`
	SubVer    string `json:"subver"`
	V2        bool   `json:"v2_connection"`           // btcd
	Transport string `json:"transport_protocol_type"` // Core: "v1", "v2", "detecting"
	SessionID string `json:"session_id"`              // Core, v2 only: 64 hex digits
}

// onlyPeer returns the program's only peer.
func (n *node) onlyPeer(t *testing.T) peer {
	t.Helper()
	peers := ask[[]peer](t, n, "getpeerinfo")
	if len(peers) != 1 {
		t.Fatalf("%s: got %d peers, want 1: %+v", n.name, len(peers), peers)
	}
	return peers[0]
}

// catchUp waits until the client has the node's best block.
func catchUp(t *testing.T, client, node *node) {
	t.Helper()
	best := ask[string](t, node, "getbestblockhash")
	eventually(t, "the client has the node's best block "+best, func() bool {
		return ask[string](t, client, "getbestblockhash") == best
	})
}

// followBlocks mines n blocks and waits for each to reach the client before it mines the next.
func followBlocks(t *testing.T, client, node *node, n int) {
	t.Helper()
	for range n {
		node.mine(1)
		catchUp(t, client, node)
	}
}

// followTransaction sends the node a transaction that spends the coinbase of the block at height 1, and waits until it
// is in the client's mempool: nothing but the peer connection links the two.
func followTransaction(t *testing.T, client, node *node, w *wallet) {
	t.Helper()
	hash := ask[string](t, node, "getblockhash", 1)
	raw, txid := w.spendCoinbase(t, ask[string](t, node, "getblock", hash, 0))
	if sent := ask[string](t, node, "sendrawtransaction", raw); sent != txid {
		t.Fatalf("got transaction id %s, want %s", sent, txid)
	}
	eventually(t, "transaction "+txid+" is in the client's mempool", func() bool {
		for _, id := range ask[[]string](t, client, "getrawmempool") {
			if id == txid {
				return true
			}
		}
		return false
	})
}
