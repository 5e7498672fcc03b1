package test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/internal/testkit"
)

// The credentials with which a client isolates its connections reach Tor, and Tor reports the circuit of each stream.
func testTorIsolation(t *testing.T, n *torNetwork) {
	echo := testkit.Echo(t) // btcd limits the rate of v2 handshakes
	tor := n.control.watch(echo)
	proxy := startTorProxy(t, n.socks)
	type identity struct{ user, password string }
	clients := []identity{
		{"alice", "1"}, {"bob", "1"}, {"alice", "2"}, {"", ""},
		{"\"quotes\", \\ and \x80", "\xff "}, // forwarded unchanged, whatever the bytes
		{"alice", "1"}, {"bob", "1"}, {"alice", "2"}, {"", ""},
	}
	for _, c := range clients {
		conn := socksRequest{server: proxy.addr, user: c.user, password: c.password, command: socksConnect, dest: echo}.granted(t)
		hello := []byte("hello\n")
		if err := exchange(conn, hello, hello); err != nil {
			t.Fatal(err)
		}
	}
	streams := tor.await(t, len(clients))
	if len(streams) != len(clients) {
		t.Fatalf("got %d streams, want one for each of %d clients: %+v", len(streams), len(clients), streams)
	}
	circuits := map[string]identity{}
	circuit := map[identity]string{}
	for i, s := range streams { // in the order of the clients, which connected one by one
		got, want := identity{s.user, s.password}, clients[i]
		if got != want {
			t.Errorf("client %d: Tor got credentials %q, want %q", i, got, want)
		}
		if other, used := circuits[s.circuit]; used && other != want {
			t.Errorf("%q shares circuit %s with %q", want, s.circuit, other)
		}
		if before, known := circuit[want]; known && before != s.circuit && want.user != "" { // which other tests use, too
			t.Errorf("%q came over circuit %s, and before over %s", want, s.circuit, before)
		}
		circuits[s.circuit], circuit[want] = want, s.circuit
	}
	t.Logf("%d connections, %d identities, circuits %v", len(clients), len(circuit), circuit)
}

// If the peer turns out to speak v1 only, the later dials use the same credentials and circuit as the first.
func testTorFallback(t *testing.T, n *torNetwork) {
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams))
	tor := n.control.watch(node.p2p)
	proxy := startTorProxy(t, n.socks, "--v1-fallback", "always")
	conn := socksRequest{server: proxy.addr, user: "carol", password: "secret", command: socksConnect, dest: node.p2p}.granted(t)
	speakV1(t, conn)
	if opened := proxy.opened(t); opened.Transport != "v1" {
		t.Errorf("the proxy logged %+v, want transport v1", opened)
	}
	streams := tor.await(t, 3)
	if len(streams) != 3 {
		t.Errorf("got %d streams, want two that try v2 and one that speaks v1", len(streams))
	}
	for _, s := range streams {
		if s.user != "carol" || s.password != "secret" || s.circuit != streams[0].circuit {
			t.Errorf("Tor reports %+v, want the client's credentials and circuit %s", s, streams[0].circuit)
		}
	}
}

// Credentials in the URL apply to all clients, and check says what that means.
func testTorURLCredentials(t *testing.T, n *torNetwork) {
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	tor := n.control.watch(node.p2p)
	upstream := url.URL{Scheme: "socks5", User: url.UserPassword("from the URL", "p@ss:/word"), Host: n.socks}
	proxy := startTorProxy(t, upstream.String())
	for _, user := range []string{"", "dave"} {
		speakV1(t, socksRequest{server: proxy.addr, user: user, command: socksConnect, dest: node.p2p}.granted(t))
	}
	streams := tor.await(t, 2)
	if s := streams[0]; s.user != "from the URL" || s.password != "p@ss:/word" {
		t.Errorf("for a client without credentials Tor got %q, %q", s.user, s.password)
	}
	if s := streams[1]; s.user != "from the URL" || s.password != "p@ss:/word" {
		t.Errorf("for a client with user name dave Tor got %q, %q", s.user, s.password)
	}
	if streams[0].circuit != streams[1].circuit {
		t.Errorf("got circuits %s and %s, want one circuit", streams[0].circuit, streams[1].circuit)
	}
	check(t, "--listen", proxy.addr, "--upstream", upstream.String()).require(t, "upstream", "warning", "share circuits")
}

// With SafeSocks Tor refuses binary addresses. Requests that a client sends as text get through, and so do those that
// the proxy makes itself: for a static peer and by check.
func testTorSafeSocks(t *testing.T, n *torNetwork) {
	safe := n.tors.run(t, "safe", "SafeSocks 1\nSocksPort 127.0.0.1:auto\n")
	safe.awaitLine(t, "Bootstrapped 100%", func(line string) bool { return strings.Contains(line, "Bootstrapped 100%") })
	tor := torListeners(safe, "Socks")[0]
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	own := freeAddr(t)
	proxy := startTorProxy(t, tor, "--peer", own+"="+node.p2p)
	host, port, _ := net.SplitHostPort(node.p2p)
	asText := func(server string) net.Conn {
		nc, err := net.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(patience))
		n, _ := strconv.Atoi(port)
		nc.Write(binary.BigEndian.AppendUint16(append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...), uint16(n)))
		var reply [12]byte
		if _, err := io.ReadFull(nc, reply[:]); err != nil || reply[3] != 0 {
			t.Fatalf("%s: reply % x, %v", server, reply, err)
		}
		return nc
	}
	speakV1(t, asText(proxy.addr))
	static, err := net.Dial("tcp", own)
	if err != nil {
		t.Fatal(err)
	}
	defer static.Close()
	speakV1(t, static)
	c := check(t, "--listen", proxy.addr, "--upstream", "socks5://"+tor, "--network", "regtest", node.p2p)
	c.require(t, "upstream", "ok", "this is Tor")
	c.require(t, "v2", "ok", "handshake complete")
	requireRefusal(t, socksRequest{server: proxy.addr, command: socksConnect, dest: node.p2p}.refused(t), 2) // in binary
}

// With --auth the proxy does not forward the password to Tor; its streams carry an isolation mark instead, different in
// each process.
func testTorMark(t *testing.T, n *torNetwork) {
	echo := testkit.Echo(t)
	tor := n.control.watch(echo)
	one := startTorProxy(t, n.socks, "--auth", "user:secret")
	other := startTorProxy(t, n.socks, "--auth", "user:secret")
	for _, server := range []string{one.addr, one.addr, other.addr, n.socks} {
		r := socksRequest{server: server, user: "user", password: "secret", command: socksConnect, dest: echo}
		if server == n.socks {
			r.user = ""
		}
		hello := []byte("hello\n")
		if err := exchange(r.granted(t), hello, hello); err != nil {
			t.Fatal(err)
		}
	}
	streams := tor.await(t, 4)
	for i, s := range streams[:3] {
		if len(s.user) < 20 || s.password != s.user {
			t.Errorf("stream %d: Tor got %q, %q, want a mark", i, s.user, s.password)
		}
	}
	if streams[0].user != streams[1].user || streams[0].circuit != streams[1].circuit {
		t.Errorf("for one process Tor reports %+v, %+v", streams[0], streams[1])
	}
	if streams[0].user == streams[2].user {
		t.Error("two processes have the same mark")
	}
	for _, i := range []int{0, 2} {
		for j, s := range streams {
			if j > 1 && j != i && s.circuit == streams[i].circuit {
				t.Errorf("streams %d and %d share circuit %s", i, j, s.circuit)
			}
		}
	}
}

// Tor reserves user names that begin with <torS0X>. Those that Tor refuses are refused by the proxy.
func testTorReservedCredentials(t *testing.T, n *torNetwork) {
	const plain, reserved = "<torS0X>0", "<torS0X>1x"
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	tor := n.control.watch(node.p2p)
	proxy := startTorProxy(t, n.socks)
	speakV1(t, socksRequest{server: proxy.addr, user: plain, password: "p", command: socksConnect, dest: node.p2p}.granted(t))
	if streams := tor.await(t, 1); streams[0].user != plain {
		t.Errorf("Tor got the user name %q, want %q", streams[0].user, plain)
	}

	direct, err := net.Dial("tcp", n.socks)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	if _, err := (socksRequest{user: reserved, password: "p", command: socksConnect, dest: node.p2p}).negotiate(direct); err == nil {
		notRun(t, "this Tor has no reserved user names")
	}
	reply := socksRequest{server: proxy.addr, user: reserved, password: "p", command: socksConnect, dest: node.p2p}.refused(t)
	requireRefusal(t, reply, 1)
	refused := proxy.await(t, "session refused", func(e event) bool { return e.Msg == "session refused" })
	t.Logf("reason %q, hint %q", refused.Reason, refused.Hint)
}
