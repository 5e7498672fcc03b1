package test

import (
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// bySeccomp has the flags of run for sockets that are redirected by seccomp.
var bySeccomp = []string{"--fence", "seccomp"}

// What TestRunReachesNode tests is so by seccomp, too.
func TestRunSeccompReachesNode(t *testing.T) {
	t.Parallel()
	requireInstalled(t, "gcc", python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		w.flags = bySeccomp
		w.reachByAll(t)
	})
}

// btcd without --proxy follows the node's chain by seccomp; its RPC server needs no --publish.
func TestRunSeccompBtcd(t *testing.T) {
	t.Parallel()
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		w.node.mine(firstTip)
		for _, host := range []string{runNode4, runNode6, runName4} {
			t.Run(host, func(t *testing.T) {
				path, r := underRunAt(t, ordinaryUser, bySeccomp, binaries.btcd)
				client := startBtcdIn(t, dirOf(t, ordinaryUser), rpcInside, "client", path, &chaincfg.RegressionNetParams,
					"--connect="+w.at(host), "--nolisten")
				r.program = client.program
				t.Cleanup(func() { r.end(t) })
				catchUp(t, client, w.node)
				followBlocks(t, client, w.node, 3)
				w.requireV2(t, r, w.at(addressOf(host)))
			})
		}
	})
}

// When the proxy is killed, the client is cut off by seccomp, too.
func TestRunSeccompKilledProxy(t *testing.T) {
	t.Parallel()
	requireInstalled(t, python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) { w.killProxy(t, ordinaryUser, bySeccomp) })
}

// By seccomp, too, nothing but TCP gets out. But loopback and abstract sockets stay the machine's, as documented.
func TestRunSeccompOtherWays(t *testing.T) {
	t.Parallel()
	requireInstalled(t, python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		w.flags = bySeccomp
		w.otherWays(t, "loopback connected to ('127.0.0.1', OUTSIDE)\nabstract socket connected to \x00other ways OUTSIDE\n")
		w.reach(t, ordinaryUser, []string{python, copyTo(t, dirOf(t, ordinaryUser), "testdata/direct/client.py")}, runNode4)
	})
}
