package test

import (
	"fmt"
	"net"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/internal/testkit"
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
		outside := port(t, testkit.Echo(t))
		l, err := net.Listen("unix", "@other ways "+outside)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for name, uid := range map[string]int{"root": 0, "ordinary user": ordinaryUser} {
			t.Run(name, func(t *testing.T) {
				script := copyTo(t, dirOf(t, uid), "testdata/direct/other_ways.py")
				_, code, out := runOnce(t, uid, nil, w.flags, python, script, runNode4, w.port, outside)
				want := fmt.Sprintf("loopback connected to ('127.0.0.1', %s)\nabstract socket connected to \x00other ways %s\n", outside, outside)
				if code != 0 || string(out) != want {
					t.Errorf("exit code %d, want 0; got out by\n%q, want\n%q", code, out, want)
				}
			})
		}
		w.reach(t, ordinaryUser, []string{python, copyTo(t, dirOf(t, ordinaryUser), "testdata/direct/client.py")}, runNode4)
	})
}
