package test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// connectTo plays a connection to the server at addr.
func connectTo(addr string) played {
	return func(nc *net.TCPConn) {
		defer nc.Close()
		out, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer out.Close()
		go func() {
			io.Copy(out, nc)
			out.Close()
		}()
		io.Copy(nc, out)
	}
}

// One proxy serves a client with one proxy setting on clearnet and Tor: it reaches a peer at its address directly, and
// an onion peer through the upstream proxy for .onion, both on v2. A peer in .i2p is not reached, and its name goes nowhere.
func TestUpstreamByDestination(t *testing.T) {
	const onion, i2p = "abcdefghijklmnop.onion:8333", "name.b32.i2p:8333"
	w := newWallet(t, &chaincfg.RegressionNetParams)
	clear, hidden := startBtcdNode(t, w, "--v2transport", traceSessions), startBtcdNode(t, w, "--v2transport", traceSessions)
	hidden.mine(1)
	upstream, asked := startUpstream(t, "127.0.0.1:0", true, func(dest string) played {
		if dest != onion {
			return nil
		}
		return connectTo(hidden.p2p)
	})
	proxy := startProxy(t, "--upstream", "*.onion=socks5://"+upstream)
	if code, _ := askByName(t, proxy.addr, socksConnect, "name.b32.i2p", "8333"); code != 4 {
		t.Errorf("%s: got reply %d, want 4", i2p, code)
	}
	for _, c := range []struct {
		node *node
		dest string
	}{{clear, clear.p2p}, {hidden, onion}} {
		client := startBtcd(t, "client", w.params, "--proxy="+proxy.addr, "--nolisten", "--connect="+c.dest)
		catchUp(t, client, c.node)
		followBlocks(t, client, c.node, 3)
		opened := proxy.await(t, "a session with "+c.dest, func(e event) bool { return e.Msg == "session opened" && e.Dest == c.dest })
		if p := c.node.onlyPeer(t); !p.V2 || opened.Transport != "v2" {
			t.Errorf("to the node at %s the client is %+v, and the proxy logged %+v; want v2", c.dest, p, opened)
		}
		line := c.node.awaitLine(t, "a session id", func(line string) bool { return strings.Contains(line, "Derived session_id=") })
		if !strings.Contains(line, opened.SessionID) {
			t.Errorf("the node logged %q, the proxy session_id %s", line, opened.SessionID)
		}
		client.kill()
	}
	for _, a := range asked() {
		if a.command != socksConnect || a.dest != onion {
			t.Errorf("the upstream proxy got the request %+v, want only connections to %s", a, onion)
		}
	}
	proxy.await(t, "the warning about Bitcoin Core", func(e event) bool {
		return e.Level == "WARN" && strings.Contains(e.Msg, "keep Core's -onion= at Tor itself")
	})
}

// followOnion is follow with an onion peer: the proxy's upstream for .onion has it.
func followOnion(t *testing.T, tells func(nodes tip) tip, startClient func(proxy string) *program) {
	t.Helper()
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	upstream, asked := startUpstream(t, "127.0.0.1:0", true, func(dest string) played {
		if !strings.HasSuffix(dest, ".onion:8333") {
			return nil
		}
		return connectTo(node.p2p)
	})
	proxy := startProxy(t, "--upstream", "*.onion=socks5://"+upstream)
	followNode(t, node, tells, func(string) *program { return startClient(proxy.addr) })
	opened := proxy.opened(t)
	if opened.Transport != "v2" || len(asked()) != 1 || opened.Dest != asked()[0].dest {
		t.Errorf("the proxy logged %+v, want transport v2, dest %+v", opened, asked())
	}
}

// Bitcoin Core sends private broadcasts to clearnet through the proxy that has connected it to an onion peer. Where that
// proxy has an upstream for .onion only, they would leave from the own address: this is what the log and docs/tor.md warn
// of. With -onion= at Tor itself, as in the recipe, they go to Tor.
func TestUpstreamByDestinationAndPrivateBroadcast(t *testing.T) {
	const onion, other = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion:18444", "1.2.3.4:18444"
	for _, toTor := range []bool{false, true} {
		w, node := startCoreNode(t)
		upstream, asked := startUpstream(t, "127.0.0.1:0", true, func(dest string) played {
			if dest != onion {
				return nil
			}
			return connectTo(node.p2p)
		})
		proxy := startProxy(t, "--upstream", "*.onion=socks5://"+upstream, "--deny", "0.0.0.0/0", "--deny", "::/0") // nothing leaves this machine
		flags := []string{"-listen=0", "-proxy=" + proxy.addr, "-addnode=" + onion, "-privatebroadcast=1", "-test=addrman", "-v2transport=1"}
		if toTor {
			flags = append(flags, "-onion="+upstream)
		}
		client := startBitcoind(t, "client", flags...)
		catchUp(t, client, node)
		host, _, _ := net.SplitHostPort(other)
		if added := ask[map[string]any](t, client, "addpeeraddress", host, 18444); added["success"] != true {
			t.Fatalf("got %v", added)
		}
		raw, _ := w.spendCoinbase(t, ask[string](t, node, "getblock", ask[string](t, node, "getblockhash", 1), 0))
		ask[string](t, client, "sendrawtransaction", raw)
		atTor := func() bool {
			return slices.ContainsFunc(asked(), func(a askedUpstream) bool { return a.dest == other })
		}
		if toTor {
			eventually(t, "the broadcast goes to Tor", atTor)
			continue
		}
		proxy.await(t, "the broadcast, which would be direct", func(e event) bool { return e.Msg == "session refused" && e.Dest == other })
		if atTor() {
			t.Error("the broadcast went to Tor, so the warning is wrong")
		}
	}
}
