package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// utreexod, which speaks v1 here, follows another one that sends proofs over v2, with the ids of BIP183, as soon as
// they are requested. A utreexo node that gets no proofs stays at height 0.
func TestUtreexod(t *testing.T) {
	t.Parallel()
	path := buildUtreexod(t)
	bridge := startBridge(t, path, &chaincfg.RegressionNetParams, "127.0.0.1:0")
	for _, byFile := range []bool{false, true} {
		t.Run(map[bool]string{false: "flags", true: "file"}[byFile], func(t *testing.T) {
			proxy := startProxy(t)
			flags, conf := recipeArgs(t, "utreexod", "utreexod", proxy.addr), ""
			if byFile {
				flags, conf = nil, recipeAt(t, "utreexod", "[Application Options]", proxy.addr)
			}
			client := startUtreexod(t, path, &chaincfg.RegressionNetParams, "client", conf, append(flags, "--nolisten", "--connect="+bridge.p2p)...)
			catchUp(t, client, bridge)
			followBlocks(t, client, bridge, 3)

			opened := proxy.opened(t)
			client.kill()
			if closed := proxy.closed(t, opened.Session); closed.Transport != "v2" || closed.Dropped != 0 {
				t.Errorf("the proxy logged %+v, want transport v2, nothing dropped", closed)
			}
		})
	}
}

// buildUtreexod returns the path of utreexod, which is built once per run of the tests.
func buildUtreexod(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(binaries.proxy), "utreexod"+exe)
	one, _ := installing.LoadOrStore(path, new(sync.Mutex))
	one.(*sync.Mutex).Lock()
	defer one.(*sync.Mutex).Unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("go", "-C", "utreexo", "build", "-o", path, "github.com/utreexo/utreexod").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// startBridge runs a utreexod that serves proofs, accepts v2 peers at an address, and has mined 30 blocks.
func startBridge(t *testing.T, path string, params *chaincfg.Params, listen string) *node {
	t.Helper()
	w := newWallet(t, params)
	bridge := startUtreexod(t, path, params, "bridge", "", "--v2transport", "--flatutreexoproofindex", "--prune=0", "--listen="+listen,
		"--miningaddr="+w.address.EncodeAddress())
	bridge.p2p = bridge.awaitAddr(t, "CMGR: Server listening on ")
	bridge.mine = func(n int) []string { return ask[[]string](t, bridge, "generate", n) }
	bridge.mine(30)
	return bridge
}

// startUtreexod runs a utreexod with the text of a utreexod.conf.
func startUtreexod(t *testing.T, path string, params *chaincfg.Params, name, conf string, flags ...string) *node {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "utreexod.conf")
	writeFile(t, config, conf)
	n := &node{}
	n.program = start(t, name, path, append([]string{
		"--" + params.Name, "--configfile=" + config, "--datadir=" + dir, "--logdir=" + dir, "--nobdkwallet", "--disableelectrum",
		"--notls", "--rpcuser=" + rpcUser, "--rpcpass=" + rpcPassword, "--rpclisten=127.0.0.1:0", "--nodnsseed",
	}, flags...)...)
	n.rpc = "http://" + n.awaitAddr(t, "RPC server listening on ")
	return n
}
