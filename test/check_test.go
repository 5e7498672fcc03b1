package test

import (
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// checked is the part of `bip324-proxy check --json` that the tests read.
type checked struct {
	OK     bool `json:"ok"`
	Checks []struct{ Name, State, What, Hint string }
	Peer   struct {
		Network   string   `json:"network"`
		Address   string   `json:"address"`
		Speaks    string   `json:"speaks"`
		SessionID string   `json:"session_id"`
		UserAgent string   `json:"user_agent"`
		Protocol  int      `json:"protocol"`
		Services  []string `json:"services_names"`
		Height    int      `json:"height"`
	} `json:"peer"`
}

// check runs `bip324-proxy check`. The exit code must agree with the report.
func check(t *testing.T, args ...string) checked {
	t.Helper()
	code, stdout, stderr := run(t, append([]string{"check", "--json"}, args...)...)
	return readChecked(t, code, stdout, stderr)
}

func readChecked(t *testing.T, code int, stdout, stderr string) (c checked) {
	t.Helper()
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	t.Logf("exit code %d\n%s", code, stdout)
	if c.OK != (code == 0) {
		t.Errorf("exit code %d does not match ok=%v", code, c.OK)
	}
	return c
}

// require checks that there is exactly one result of that name, with that state and text.
func (c checked) require(t *testing.T, name, state, says string) {
	t.Helper()
	n := 0
	for _, r := range c.Checks {
		if r.Name == name {
			n++
			if r.State != state || !strings.Contains(r.What, says) {
				t.Errorf("%s: got %s: %s; want %s with %q", name, r.State, r.What, state, says)
			}
		}
	}
	if n != 1 {
		t.Errorf("got %d results of %s, want 1", n, name)
	}
}

// check describes a btcd that speaks v2 correctly and reports the session id that btcd reports.
func TestCheckABtcdNode(t *testing.T) {
	t.Parallel()
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport", traceSessions)
	node.mine(3)
	c := check(t, "--network", "regtest", node.p2p)
	requireBtcd(t, c, node)
	c.require(t, "connect", "ok", "connected to "+node.p2p)
	if len(c.Checks) != 3 || !c.OK || c.Peer.Height != 3 || c.Peer.Address != node.p2p {
		t.Errorf("unexpected report %+v", c)
	}
	eventually(t, "the node has no peer", func() bool { return len(ask[[]peer](t, node, "getpeerinfo")) == 0 })

	other := check(t, "--network", "signet", node.p2p) // the wrong network
	if other.OK || other.Peer.Speaks != "" {
		t.Errorf("on the wrong network: unexpected report %+v", other)
	}
}

// requireBtcd checks that the peer was a btcd with v2 and that both ends report the same session id.
func requireBtcd(t *testing.T, c checked, node *node) {
	t.Helper()
	line := node.awaitLine(t, "a session id", func(line string) bool { return strings.Contains(line, "Derived session_id=") })
	if len(c.Peer.SessionID) != 64 || !strings.Contains(line, "session_id="+c.Peer.SessionID) {
		t.Errorf("the node logged %q, the session id is %q", line, c.Peer.SessionID)
	}
	if c.Peer.Speaks != "v2" || c.Peer.Network != "regtest" || !strings.Contains(c.Peer.UserAgent, "btcd") || c.Peer.Protocol < 70013 {
		t.Errorf("unexpected peer %+v", c.Peer)
	}
	c.require(t, "v2", "ok", c.Peer.SessionID)
	c.require(t, "version", "ok", c.Peer.UserAgent)
}

// A btcd without v2 hangs up and gets no plaintext, unless the user asked for it; then it answers.
func TestCheckAV1Node(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w)
	for _, v1 := range []bool{false, true} {
		observer := startRecorder(t, node.p2p)
		args := []string{"--network", "regtest", "--v1-fallback", "always", observer.addr}
		if v1 {
			args = append([]string{"--v1"}, args...)
		}
		c := check(t, args...)
		for _, r := range c.Checks { // about once in 1000 runs the node takes our key for a v1 header and stays silent
			if r.Name == "v2" && (r.State != "failed" || !strings.Contains(r.What, "hung up during the v2 handshake") && !strings.Contains(r.What, "did not answer")) {
				t.Errorf("unexpected result %+v", r)
			}
		}
		conns := observer.connections()
		requireUnreadable(t, conns[0], w.params)
		if !v1 {
			if len(conns) != 1 || c.OK || c.Peer.Speaks != "" {
				t.Errorf("unexpected report after %d connections: %+v", len(conns), c)
			}
			continue
		}
		c.require(t, "v1", "ok", "speaks v1 only: /btcwire:")
		if len(conns) != 2 || c.OK || c.Peer.Speaks != "v1" || !strings.Contains(c.Peer.UserAgent, "btcd") {
			t.Errorf("unexpected report after %d connections: %+v", len(conns), c)
		}
	}
}

// check prints the session id that Core reports. Core is asked for it while everything it sends but its key is held
// back: the key is enough for Core to have a session.
func TestCheckACoreNode(t *testing.T) {
	_, node := startCoreNode(t)
	answer := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		from, err := l.Accept()
		if err != nil {
			return
		}
		defer from.Close()
		to, err := net.Dial("tcp", node.p2p)
		if err != nil {
			return
		}
		defer to.Close()
		go io.Copy(to, from)
		io.CopyN(from, to, 64)
		<-answer
		io.Copy(from, to)
	}()
	var seen peer
	go func() {
		defer close(answer)
		eventually(t, "Core has a v2 session", func() bool {
			var peers []peer
			if node.call(&peers, "getpeerinfo") == nil && len(peers) == 1 && peers[0].Transport == "v2" {
				seen = peers[0]
			}
			return seen.SubVer != ""
		})
	}()
	c := check(t, "--network", "regtest", l.Addr().String())
	<-answer
	if c.Peer.SessionID != seen.SessionID || len(seen.SessionID) != 64 || !strings.HasPrefix(c.Peer.UserAgent, "/Satoshi:") || c.Peer.Height != 250 {
		t.Errorf("unexpected peer %+v; Core has %+v", c.Peer, seen)
	}
	for _, name := range []string{"NETWORK", "WITNESS", "P2P_V2"} {
		if !slices.Contains(c.Peer.Services, name) {
			t.Errorf("got services %v, want %s in them", c.Peer.Services, name)
		}
	}
}

// `status` of a running proxy describes the live session of a btcd with a node.
func TestStatusOfASession(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startProxy(t, "--status", "127.0.0.1:0")
	page := proxy.await(t, "status page", func(e event) bool { return e.Msg == "status page" }).Addr
	node := startBtcdNode(t, w, "--v2transport")
	node.mine(10)
	client := startBtcdClient(t, w.params, proxy.addr, node.p2p)
	catchUp(t, client, node)
	code, stdout, stderr := run(t, "status", page)
	t.Logf("exit code %d\n%s%s", code, stdout, stderr)
	for _, want := range []string{"Yes: 1 encrypted, none in plaintext.\n1 encrypted (v2), 0 plaintext (v1), 0 passed through", "v2         regtest  " + node.p2p, "/btcwire:"} {
		if !strings.Contains(stdout, want) || code != 0 {
			t.Errorf("the status lacks %q", want)
		}
	}
	c := check(t, "--listen", proxy.addr, "--status", page)
	c.require(t, "listener", "ok", proxy.addr+": a SOCKS5 proxy answers, as bip324-proxy does")
	c.require(t, "status", "ok", "the proxy is ready")
}
