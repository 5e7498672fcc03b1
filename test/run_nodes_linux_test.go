package test

import (
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// rpcInside is where programs under run have their RPC servers, in their namespace and, published, outside.
const rpcInside = "127.0.0.1:18332"

// published has the flags of run for that.
var published = []string{"--publish", rpcInside + "=18332"}

// btcd without --proxy follows the node's chain under run, as root and as an ordinary user; its RPC server is published.
func TestRunBtcd(t *testing.T) {
	t.Parallel()
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		w.node.mine(firstTip)
		for name, uid := range map[string]int{"root": 0, "ordinary user": ordinaryUser} {
			for _, host := range []string{runNode4, runNode6, runName4} {
				t.Run(name+"/"+host, func(t *testing.T) {
					client, r := startBtcdUnderRun(t, uid, "--connect="+w.at(host))
					catchUp(t, client, w.node)
					followBlocks(t, client, w.node, 3)
					w.requireV2(t, r, w.at(addressOf(host)))
					if p := client.onlyPeer(t); p.V2 {
						t.Errorf("to the client the node is %+v, want v1", p)
					}
				})
			}
		}
	})
}

// startBtcdUnderRun runs a btcd that speaks v1 under `bip324-proxy run`, as a user.
func startBtcdUnderRun(t *testing.T, uid int, flags ...string) (*node, *underRun) {
	t.Helper()
	path, r := underRunAt(t, uid, published, binaries.btcd)
	client := startBtcdIn(t, dirOf(t, uid), rpcInside, "client", path, &chaincfg.RegressionNetParams, append(flags, "--nolisten")...)
	r.program = client.program
	t.Cleanup(func() { r.end(t) })
	return client, r
}

// utreexod without --proxy gets blocks and their proofs from a bridge.
func TestRunUtreexod(t *testing.T) {
	t.Parallel()
	otherProgram(t)
	path := buildUtreexod(t)
	inRunWorld(t, &chaincfg.SimNetParams, func(*runWorld) { // on regtest it gets blocks only from loopback
		bridge := startBridge(t, path, &chaincfg.SimNetParams, runNode4+":18666")
		script, r := underRunAt(t, 0, published, path)
		client := startUtreexod(t, script, &chaincfg.SimNetParams, "client", "", "--nolisten", "--connect="+bridge.p2p, "--rpclisten="+rpcInside)
		client.rpc = "http://" + rpcInside // it has two
		r.program = client.program
		t.Cleanup(func() { r.end(t) })
		catchUp(t, client, bridge)
		followBlocks(t, client, bridge, 3)
		if p := bridge.onlyPeer(t); !p.V2 {
			t.Errorf("to the bridge the client is %+v, want v2", p)
		}
	})
}

// lnd with its built-in neutrino, built without C, follows the node's chain without a setting of Tor or a proxy.
func TestRunLnd(t *testing.T) {
	t.Parallel()
	path := lndProgram(t)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		w.node.mine(firstTip)
		script, r := underRunAt(t, 0, published, path)
		client := startLnd(t, script, "", "--bitcoin.node=neutrino", "--neutrino.connect="+w.node.p2p, "--restlisten="+rpcInside)
		client.rest = rpcInside // it has two
		r.program = client.program
		t.Cleanup(func() { r.end(t) })
		client.awaitTip(t, w.node, firstTip)
		w.requireV2(t, r, w.node.p2p)
		w.node.mine(5)
		client.awaitTip(t, w.node, firstTip+5)
	})
}
