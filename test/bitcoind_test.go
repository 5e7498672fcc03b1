package test

import (
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// The same tests with Bitcoin Core at both ends. Core bypasses its proxy for a loopback address but not for a name, so
// the clients connect to "localhost".

// A Core limited to v1 is a v2 peer to the node, and the node's session id is the one that the proxy logged, so nobody
// is in the middle.
func TestCoreV1ClientIsAV2PeerToTheNode(t *testing.T) {
	w, node := startCoreNode(t)
	proxy := startProxy(t)
	client := startCoreClient(t, proxy.addr, node)
	catchUp(t, client, node)
	followBlocks(t, client, node, 20)
	followTransaction(t, client, node, w)

	opened := proxy.opened(t)
	if opened.Transport != "v2" || opened.Network != "regtest" || len(opened.SessionID) != 64 {
		t.Errorf("the proxy logged %+v, want transport v2, network regtest, a session_id of 64 hex digits", opened)
	}
	if p := node.onlyPeer(t); p.Transport != "v2" || p.SessionID != opened.SessionID {
		t.Errorf("to the node the client is %+v, want a v2 peer with the proxy's session id %s", p, opened.SessionID)
	}
	if p := client.onlyPeer(t); p.Transport != "v1" {
		t.Errorf("the client does not speak v1, so this test proves nothing: %+v", p)
	}

	client.kill()
	if closed := proxy.closed(t, opened.Session); closed.MessagesToClient <= rekeyInterval || closed.Dropped != 0 {
		t.Errorf("the proxy logged %+v, want more than %d messages to the client, nothing dropped", closed, rekeyInterval)
	}
}

// A Core that speaks v2 is passed through: both ends report the same session id, which the proxy does not know.
func TestCoreV2ClientPassesThroughUntouched(t *testing.T) {
	w, node := startCoreNode(t)
	proxy := startProxy(t)
	client := startCoreClient(t, proxy.addr, node, "-v2transport=1")
	catchUp(t, client, node)
	followBlocks(t, client, node, 5)
	followTransaction(t, client, node, w)

	opened := proxy.opened(t)
	if opened.Transport != "passthrough" || opened.SessionID != "" {
		t.Errorf("the proxy logged %+v, want transport passthrough and no session_id", opened)
	}
	seen, own := node.onlyPeer(t), client.onlyPeer(t)
	if seen.Transport != "v2" || own.Transport != "v2" || len(own.SessionID) != 64 || seen.SessionID != own.SessionID {
		t.Errorf("the ends report different v2 sessions: node %+v, client %+v", seen, own)
	}
}

// startCoreNode runs a Core that accepts v2 peers and has mined 250 blocks to a new wallet.
func startCoreNode(t *testing.T) (*wallet, *node) {
	t.Helper()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	addr := freeAddr(t)
	n := startBitcoind(t, "node", "-listen=1", "-bind="+addr, "-connect=0", "-v2transport=1",
		"-whitelist=noban@127.0.0.1") // it also announces transactions to such peers at once
	n.p2p = addr
	n.mine = func(blocks int) []string {
		return ask[[]string](t, n, "generatetoaddress", blocks, w.address.EncodeAddress())
	}
	n.mine(250)
	return w, n
}

// startCoreClient runs a Core whose only peer is node, reached by name through the SOCKS proxy, as in docs/clients.md.
func startCoreClient(t *testing.T, proxyAddr string, node *node, flags ...string) *node {
	t.Helper()
	return startBitcoind(t, "client", slices.Concat(recipeArgs(t, "Bitcoin Core", "bitcoind", proxyAddr), // v1 only
		[]string{"-listen=0", "-connect=localhost:" + port(t, node.p2p)}, flags)...)
}

// startBitcoind runs the bitcoind that the environment names, with a new data directory, until the test ends.
func startBitcoind(t *testing.T, name string, flags ...string) *node {
	t.Helper()
	path := os.Getenv("BITCOIND")
	if path == "" {
		notRun(t, "Bitcoin Core is missing; BITCOIND=/path/to/bitcoind runs them")
	}
	if !slices.ContainsFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "-torcontrol=") }) {
		flags = append([]string{"-listenonion=0"}, flags...) // this machine may have a Tor
	}
	rpc := freeAddr(t)
	n := &node{rpc: "http://" + rpc}
	n.program = start(t, name, path, append([]string{
		"-regtest", "-datadir=" + t.TempDir(), "-printtoconsole=1", "-nodebuglogfile",
		"-server=1", "-rpcport=" + port(t, rpc), "-rpcuser=" + rpcUser, "-rpcpassword=" + rpcPassword,
		"-natpmp=0", "-discover=0", "-dnsseed=0", "-fixedseeds=0",
	}, flags...)...)
	eventually(t, name+" answers RPC", func() bool {
		select {
		case <-n.done:
			t.Fatalf("%s ended: %v", name, n.cmd.ProcessState)
		default:
		}
		var height int
		return n.call(&height, "getblockcount") == nil
	})
	return n
}

// freeAddr returns an unused loopback address, for a program that cannot be given port 0. The port is below the range
// of ephemeral ports, so that no other connection takes it first; until the
// test ends no other test gets it, not even one of another run.
func freeAddr(t *testing.T) string {
	t.Helper()
	const lowest, end = 10_000, 32_000
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(end-lowest)))
		reserved, err := net.ListenPacket("udp", addr) // from other tests, and from other runs of the tests
		if err != nil {
			continue
		}
		t.Cleanup(func() { reserved.Close() })
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
