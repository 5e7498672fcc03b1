package test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// TestTor runs the proxy in front of a real Tor, on a private Tor network that all subtests share, because it takes
// longer to start than any of them.
func TestTor(t *testing.T) {
	t.Parallel()
	n := startTorNetwork(t)
	t.Run("Network", func(t *testing.T) { testTorNetwork(t, n) })
	if t.Failed() {
		return // the other subtests would fail for the same reason
	}
	for name, story := range map[string]func(*testing.T, *torNetwork){
		"V1ClientIsAV2PeerOverCircuits":   testTorUpgrade,
		"UnixSocket":                      testTorUnixSocket,
		"SafeSocks":                       testTorSafeSocks,
		"OnionServiceBtcd":                testTorOnionBtcd,
		"OnionServiceCore":                testTorOnionCore,
		"OnionServiceInFront":             testTorInbound,
		"Isolation":                       testTorIsolation,
		"IsolationSurvivesAFallback":      testTorFallback,
		"CredentialsOfTheURL":             testTorURLCredentials,
		"Mark":                            testTorMark,
		"ReservedCredentials":             testTorReservedCredentials,
		"Replies":                         testTorReplies,
		"OnionServiceFailures":            testTorOnionFailures,
		"Resolve":                         testTorResolve,
		"ElectrumRecognisesTor":           testTorProbe,
		"NothingElseIsConnectedTo":        testTorNothingDirect,
		"NothingIsConnectedToWithoutATor": testTorNothingDirectWhenDown,
		"NoDirectConnectionWithoutStrace": testTorSockets,
		"Check":                           testTorCheck,
		"CheckConnectsToNothingElse":      testTorCheckNothingDirect,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, n)
		})
	}
}

// startTorProxy runs the proxy with an upstream, and checks that the log names it.
func startTorProxy(t *testing.T, upstream string, flags ...string) *proxy {
	t.Helper()
	if !strings.Contains(upstream, "://") {
		upstream = "socks5://" + upstream
	}
	return startProxy(t, append([]string{"--upstream", upstream}, flags...)...)
}

// The network alone: exits reach loopback by address and by name, and onion services are found.
func testTorNetwork(t *testing.T, n *torNetwork) {
	begin := time.Now()
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams))
	speakV1(t, socksRequest{server: n.socks, command: socksConnect, dest: node.p2p}.granted(t))
	t.Logf("to an address: %v", time.Since(begin))

	named := knownName + ":" + port(t, node.p2p)
	speakV1(t, socksRequest{server: n.socks, command: socksConnect, dest: named}.granted(t))
	if n.names.asked(knownName) == 0 {
		t.Error("no exit looked up the name")
	}
	t.Logf("to a name: %v", time.Since(begin))

	onion := n.onion(t, node.p2p)
	t.Logf("a new onion service is published: %v", time.Since(begin))
	speakV1(t, socksRequest{server: n.socks, command: socksConnect, dest: onion + ":8333"}.grantedOverTor(t))
	t.Logf("to an onion service: %v", time.Since(begin))
}

// A btcd without BIP324 syncs from a v2 node, over three relays.
func testTorUpgrade(t *testing.T, n *torNetwork) {
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startTorProxy(t, n.socks)
	node := startBtcdNode(t, w, "--v2transport", traceSessions)
	tor := n.control.watch(node.p2p)
	node.mine(110)
	client := startBtcdClient(t, w.params, proxy.addr, node.p2p)
	catchUp(t, client, node)
	followBlocks(t, client, node, 3)
	followTransaction(t, client, node, w)

	requireV2(t, proxy, node, node.p2p)
	streams := tor.await(t, 1)
	path := n.control.path(t, streams[0].circuit)
	if len(streams) != 1 || len(path) < 3 {
		t.Errorf("got %d streams to the node, the first through %v; want 1 through 3 relays", len(streams), path)
	}
	client.kill()
	if closed := proxy.closed(t, proxy.opened(t).Session); closed.Dropped != 0 || closed.MessagesToClient < 110 {
		t.Errorf("the proxy logged %+v, want at least 110 messages to the client, nothing dropped", closed)
	}
}

func testTorUnixSocket(t *testing.T, n *torNetwork) {
	if n.socket == "" {
		notRun(t, "Tor has no unix sockets on this system")
	}
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport", traceSessions)
	tor := n.control.watch(node.p2p)
	proxy := startTorProxy(t, "socks5+unix://"+n.socket)
	speakV1(t, socksRequest{server: proxy.addr, command: socksConnect, dest: node.p2p}.granted(t))
	requireV2(t, proxy, node, node.p2p)
	tor.await(t, 1)
}

// A node that is reachable only as an onion service; btcd dials it by name.
func testTorOnionBtcd(t *testing.T, n *torNetwork) {
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startTorProxy(t, n.socks)
	node := startBtcdNode(t, w, "--v2transport", traceSessions)
	node.mine(110)
	dest := n.onion(t, node.p2p) + ":8333"
	_, reached := socksRequest{server: n.socks, user: "btcd", password: "first", command: socksConnect, dest: dest}.reachOverTor(t)
	client := startOnionBtcd(t, w.params, proxy.addr, reached)
	catchUp(t, client, node)
	followBlocks(t, client, node, 3)
	followTransaction(t, client, node, w)
	requireV2(t, proxy, node, dest)
}

// The same with Bitcoin Core, v1 client and v2 node.
func testTorOnionCore(t *testing.T, n *torNetwork) {
	w, node := startCoreNode(t)
	proxy := startTorProxy(t, n.socks)
	dest := n.onion(t, node.p2p) + ":8333"
	tor := n.control.watch(dest)
	client := startBitcoind(t, "client", "-listen=0", "-proxy="+proxy.addr, "-connect="+dest, "-v2transport=0")
	awaitOverTor(t, proxy)
	catchUp(t, client, node)
	followBlocks(t, client, node, 3)
	followTransaction(t, client, node, w)

	opened := proxy.opened(t)
	if p := node.onlyPeer(t); p.Transport != "v2" || p.SessionID != opened.SessionID || len(opened.SessionID) != 64 {
		t.Errorf("to the node the client is %+v, want a v2 peer with the proxy's session id %q", p, opened.SessionID)
	}
	if opened.Dest != dest {
		t.Errorf("the proxy logged %+v, want dest %s", opened, dest)
	}
	random := regexp.MustCompile(`^[0-9a-f]{16}-[0-9]+$`) // -proxyrandomize
	if s := tor.await(t, 1)[0]; s.user != s.password || !random.MatchString(s.user) {
		t.Errorf("Tor reports %+v, want the credentials that Core makes for each connection", s)
	}
	if p := client.onlyPeer(t); p.Transport != "v1" {
		t.Errorf("the client does not speak v1, so this test proves nothing: %+v", p)
	}
}

// An onion service for --inbound: a peer that speaks v2 reaches, over Tor, a btcd that does not.
func testTorInbound(t *testing.T, n *torNetwork) {
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w)
	node.mine(110)
	p := startInbound(t, node.p2p)
	dest := n.onion(t, p.inbound) + ":8333"
	_, reached := socksRequest{server: n.socks, user: "peer", password: "first", command: socksConnect, dest: dest}.reachOverTor(t)
	peer := startOnionBtcd(t, w.params, n.socks, reached, "--v2transport", traceSessions)
	catchUp(t, peer, node)
	followBlocks(t, peer, node, 3)
	followTransaction(t, peer, node, w)

	opened := p.opened(t)
	if !opened.Inbound || opened.Transport != "v2" || opened.Peer == "" {
		t.Errorf("the proxy logged %+v, want an inbound session in v2", opened)
	}
	peer.awaitLine(t, "the session id "+opened.SessionID, func(line string) bool { return strings.Contains(line, "session_id="+opened.SessionID) })
	if seen := peer.onlyPeer(t); !seen.V2 || seen.Inbound {
		t.Errorf("to the peer the node is %+v, want v2", seen)
	}
	if seen := node.onlyPeer(t); seen.V2 || !seen.Inbound {
		t.Errorf("the node does not speak v1, so this test proves nothing: %+v", seen)
	}
}

// awaitOverTor waits for the proxy's first session, which may need several attempts of the client: see grantedOverTor.
func awaitOverTor(t *testing.T, proxy *proxy) {
	t.Helper()
	eventuallyWithin(t, 3*patience, "a session over Tor", func() bool {
		return slices.ContainsFunc(proxy.out.all(), func(line string) bool { return strings.Contains(line, `"session opened"`) })
	})
}

// startOnionBtcd is startBtcdClient for an onion service, with the credentials that have reached it.
func startOnionBtcd(t *testing.T, params *chaincfg.Params, proxyAddr string, reached socksRequest, flags ...string) *node {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "empty.conf")
	writeFile(t, config, "")
	n := &node{program: start(t, "client", binaries.btcd, append(flags,
		"--"+params.Name, "--configfile="+config, "--datadir="+dir, "--logdir="+dir,
		"--notls", "--rpcuser="+rpcUser, "--rpcpass="+rpcPassword, "--rpclisten=127.0.0.1:0",
		"--nodnsseed", "--nolisten", "--connect="+reached.dest,
		"--proxy="+proxyAddr, "--proxyuser="+reached.user, "--proxypass="+reached.password)...)}
	n.rpc = "http://" + n.awaitAddr(t, "RPC server listening on ")
	return n
}

// traceSessions makes a btcd node log the ids of its v2 sessions.
const traceSessions = "--debuglevel=V2TR=trace"

// requireV2 checks that node has one peer, which speaks v2, in the session that the proxy logged: both report the same
// session id, so nobody is in the middle.
func requireV2(t *testing.T, proxy *proxy, node *node, dest string) {
	t.Helper()
	opened := proxy.opened(t)
	if opened.Transport != "v2" || opened.Network != "regtest" || opened.Dest != dest || len(opened.SessionID) != 64 {
		t.Errorf("the proxy logged %+v, want transport v2, network regtest, dest %s, a session_id", opened, dest)
	}
	line := node.awaitLine(t, "a session id", func(line string) bool { return strings.Contains(line, "Derived session_id=") })
	if id := regexp.MustCompile(`session_id=([0-9a-f]{64})`).FindStringSubmatch(line); id == nil || id[1] != opened.SessionID {
		t.Errorf("the node logged %q, the proxy session_id %s", line, opened.SessionID)
	}
	if p := node.onlyPeer(t); !p.V2 || !p.Inbound {
		t.Errorf("to the node the client is not an inbound v2 peer: %+v", p)
	}
}

// v1Conn is a v1 client's connection.
type v1Conn interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
}

// speakV1 plays a v1 client's start on regtest: version and verack, then a ping and its pong.
func speakV1(t *testing.T, conn v1Conn) {
	t.Helper()
	const nonce = 324
	send := func(m wire.Message) {
		t.Helper()
		if err := wire.WriteMessage(conn, m, wire.ProtocolVersion, wire.TestNet); err != nil {
			t.Fatalf("v1 client: %s: %v", m.Command(), err)
		}
	}
	noAddr := &wire.NetAddress{IP: make([]byte, 16)}
	version := wire.NewMsgVersion(noAddr, noAddr, uint64(time.Now().UnixNano()), 0)
	version.UserAgent = "/" + strings.ReplaceAll(t.Name(), "/", ".") + "/"
	send(version)
	for {
		m, _, err := wire.ReadMessage(conn, wire.ProtocolVersion, wire.TestNet)
		if _, unknown := err.(*wire.MessageError); unknown {
			continue // a message that btcd's library cannot parse
		}
		if err != nil {
			t.Fatalf("v1 client: %v", err)
		}
		switch m := m.(type) {
		case *wire.MsgVerAck:
			send(wire.NewMsgVerAck())
			send(wire.NewMsgPing(nonce))
		case *wire.MsgPong:
			if m.Nonce != nonce {
				t.Fatal(fmt.Errorf("v1 client: pong %d for ping %d", m.Nonce, nonce))
			}
			return
		}
	}
}

// check recognises Tor, as the proxy's upstream and in place of the proxy, and reaches peers through it by name and as
// onion services.
func testTorCheck(t *testing.T, n *torNetwork) {
	proxy := startTorProxy(t, n.socks)
	upstreams := map[string]string{"socks5://" + n.socks: n.socks}
	if n.socket != "" {
		upstreams["socks5+unix://"+n.socket] = n.socket
	}
	for upstream, addr := range upstreams {
		c := check(t, "--listen", proxy.addr, "--upstream", upstream)
		c.require(t, "listener", "ok", proxy.addr+": a SOCKS5 proxy answers, as bip324-proxy does")
		c.require(t, "upstream", "ok", addr+": this is Tor")
		c.require(t, "names", "ok", "no leak: names go to Tor")
		if !c.OK {
			t.Errorf("unexpected report %+v", c)
		}
	}
	c := check(t, "--listen", n.socks) // Tor instead of the proxy
	c.require(t, "listener", "failed", "this is Tor, or a proxy in front of it")

	for _, kind := range []string{"name", "onion"} {
		node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport", traceSessions)
		dest := knownName + ":" + port(t, node.p2p)
		if kind == "onion" {
			dest = n.onion(t, node.p2p) + ":8333"
		}
		c := check(t, "--upstream", "socks5://"+n.socks, "--network", "regtest", dest)
		for i := 0; i < 4 && kind == "onion" && !c.OK; i++ { // see grantedOverTor
			time.Sleep(directoryPause)
			c = check(t, "--upstream", "socks5://"+n.socks, "--network", "regtest", dest)
		}
		c.require(t, "connect", "ok", dest+": connected through the upstream proxy")
		requireBtcd(t, c, node)
	}
}
