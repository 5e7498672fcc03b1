package test

import (
	"os"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// oldPeerFlags returns the flags of the second proxy in docs/fallback.md, for the given listener, door and peer; and
// what the page writes into bitcoin.conf, for that door.
func oldPeerFlags(t *testing.T, listen, door, peer string) (flags []string, addnode string) {
	t.Helper()
	page, err := os.ReadFile("../docs/fallback.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(lf(page), "\n## One old peer\n")
	text, _, _ = strings.Cut(text, "\n## ")
	blocks := codeBlocks(text)
	if len(blocks) != 2 {
		t.Fatalf("docs/fallback.md has %d blocks of code about one old peer, want the proxy's and Core's: %q", len(blocks), blocks)
	}
	here := strings.NewReplacer("127.0.0.1:1326", listen, "127.0.0.1:38401", door, "old.example:8333", peer, "\\\n", "", "'", "")
	return strings.Fields(here.Replace(blocks[0]))[1:], "-" + strings.TrimSpace(here.Replace(blocks[1]))
}

// The second proxy of docs/fallback.md speaks v1 with its peer and with nobody else: a client that connects to its
// door syncs, and a client that uses it as a SOCKS proxy reaches no other node, although that one has v2.
func TestOneOldPeer(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	old := startBtcdNode(t, w)
	old.mine(30)
	other := startBtcdNode(t, w, "--v2transport")
	door := freeAddr(t)
	flags, _ := oldPeerFlags(t, "127.0.0.1:0", door, old.p2p)
	proxy := startProxy(t, flags...)

	client := startBtcd(t, "client", w.params, "--nolisten", "--connect="+door)
	catchUp(t, client, old)
	if opened := proxy.opened(t); opened.Transport != "v1" || opened.Dest != old.p2p {
		t.Errorf("the proxy logged %+v, want transport v1, dest %s", opened, old.p2p)
	}
	startBtcdClient(t, w.params, proxy.addr, other.p2p)
	refused := proxy.await(t, "session refused", func(e event) bool { return e.Msg == "session refused" })
	if refused.Dest != other.p2p || !strings.Contains(refused.Reason, "denied") {
		t.Errorf("the proxy logged %+v, want that %s is denied", refused, other.p2p)
	}
}

// A Core whose proxy is strict reaches the old peer through the door, because it does not use its proxy for loopback.
func TestCoreReachesOneOldPeer(t *testing.T) {
	w := newWallet(t, &chaincfg.RegressionNetParams)
	old := startBtcdNode(t, w)
	old.mine(30)
	strict := startProxy(t)
	door := freeAddr(t)
	flags, addnode := oldPeerFlags(t, "127.0.0.1:0", door, old.p2p)
	second := startProxy(t, flags...)

	client := startBitcoind(t, "client", append(recipeArgs(t, "Bitcoin Core", "bitcoind", strict.addr), addnode)...)
	catchUp(t, client, old)
	if opened := second.opened(t); opened.Transport != "v1" || opened.Dest != old.p2p {
		t.Errorf("the second proxy logged %+v, want transport v1, dest %s", opened, old.p2p)
	}
	for _, line := range strict.out.all() {
		if strings.Contains(line, "session") {
			t.Errorf("Core used the strict proxy: %s", line)
		}
	}
}
