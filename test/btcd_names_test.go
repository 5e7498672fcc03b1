package test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// btcd syncs, and the node sees a v2 peer, however btcd resolves its peer's name. By default btcd assumes that a proxy
// is Tor and resolves names with RESOLVE; with --noonion it uses the system's resolver, which bypasses the proxy.
func TestBtcdWithNamesAndAddresses(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	for _, c := range []struct {
		name       string
		listen     string // the node's listening address
		host       string // the node's name for the client; "" for its address
		flags      []string
		proxyFlags []string
	}{
		{name: "name", listen: "127.0.0.1:0", host: "localhost"},
		{name: "name, --noonion", listen: "127.0.0.1:0", host: "localhost", flags: []string{"--noonion"}},
		{name: "IPv4 address", listen: "127.0.0.1:0"},
		{name: "IPv6 address", listen: "[::1]:0"},
		{name: "name, --torisolation", listen: "127.0.0.1:0", host: "localhost",
			flags: []string{"--torisolation", "--proxyuser=user", "--proxypass=password"}},
		{name: "address, required credentials", listen: "127.0.0.1:0",
			flags:      []string{"--proxyuser=user", "--proxypass=password"},
			proxyFlags: []string{"--auth", "user:password"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if l, err := net.Listen("tcp", c.listen); err != nil {
				notRun(t, "%v", err)
			} else {
				l.Close()
			}
			node := startBtcd(t, "node", w.params, "--listen="+c.listen, "--v2transport",
				"--miningaddr="+w.address.EncodeAddress())
			node.p2p = node.awaitAddr(t, "CMGR: Server listening on ")
			node.mine = func(n int) []string { return ask[[]string](t, node, "generate", n) }
			node.mine(30)
			dest := node.p2p
			if c.host != "" {
				dest = net.JoinHostPort(c.host, port(t, node.p2p))
			}
			proxy := startProxy(t, c.proxyFlags...)
			client := startBtcd(t, "client", w.params,
				append([]string{"--nolisten", "--proxy=" + proxy.addr, "--connect=" + dest}, c.flags...)...)
			catchUp(t, client, node)
			followBlocks(t, client, node, 3)

			if p := node.onlyPeer(t); !p.V2 || !p.Inbound {
				t.Errorf("to the node the client is not an inbound v2 peer: %+v", p)
			}
			// btcd requests the address that it resolved at the start, not the name.
			if opened := proxy.opened(t); opened.Transport != "v2" || opened.Dest != node.p2p {
				t.Errorf("the proxy logged %+v, want transport v2, dest %s", opened, node.p2p)
			}
		})
	}
}

// The recipe for btcd.conf works.
func TestBtcdConfigFile(t *testing.T) {
	t.Parallel()
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	node.mine(30)
	proxy := startProxy(t)
	config := filepath.Join(t.TempDir(), "btcd.conf")
	if err := os.WriteFile(config, []byte(recipeAt(t, "btcd", "[Application Options]", proxy.addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	client := startBtcd(t, "client", &chaincfg.RegressionNetParams, "--configfile="+config, "--nolisten", "--connect="+node.p2p)
	catchUp(t, client, node)
	if opened := proxy.opened(t); opened.Transport != "v2" || opened.Dest != node.p2p {
		t.Errorf("the proxy logged %+v, want transport v2, dest %s", opened, node.p2p)
	}
}
