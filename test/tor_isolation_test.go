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

// What a client uses to keep its connections apart reaches Tor: Tor says itself which stream went over which circuit.
func testTorIsolation(t *testing.T, n *torNetwork) {
	echo := testkit.Echo(t) // btcd would not have so many v2 handshakes so fast
	tor := n.control.watch(echo)
	proxy := startTorProxy(t, n.socks)
	type identity struct{ user, password string }
	clients := []identity{
		{"alice", "1"}, {"bob", "1"}, {"alice", "2"}, {"", ""},
		{"\"quotes\", \\ and \x80", "\xff "}, // whatever it is, it is forwarded unchanged
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
		t.Fatalf("Tor had %d streams, want one for each of %d clients: %+v", len(streams), len(clients), streams)
	}
	circuits := map[string]identity{}
	circuit := map[identity]string{}
	for i, s := range streams { // in the order of the clients, which came one after the other
		got, want := identity{s.user, s.password}, clients[i]
		if got != want {
			t.Errorf("client %d: Tor got the credentials %q, want %q", i, got, want)
		}
		if other, used := circuits[s.circuit]; used && other != want {
			t.Errorf("%q shares circuit %s with %q", want, s.circuit, other)
		}
		if before, known := circuit[want]; known && before != s.circuit && want.user != "" { // which other tests have, too
			t.Errorf("%q came over circuit %s, and before over %s", want, s.circuit, before)
		}
		circuits[s.circuit], circuit[want] = want, s.circuit
	}
	t.Logf("%d connections, %d identities, circuits %v", len(clients), len(circuit), circuit)
}

// Where the peer turns out to speak v1 only, the other dials are the same to Tor as the first.
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
		t.Errorf("Tor had %d streams, want two that try v2 and one that speaks v1", len(streams))
	}
	for _, s := range streams {
		if s.user != "carol" || s.password != "secret" || s.circuit != streams[0].circuit {
			t.Errorf("Tor had %+v, want the client's credentials and circuit %s", s, streams[0].circuit)
		}
	}
}

// Credentials in the URL are those of all clients, and check says what that means.
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
		t.Errorf("of a client without credentials Tor got %q, %q", s.user, s.password)
	}
	if s := streams[1]; s.user != "from the URL" || s.password != "p@ss:/word" {
		t.Errorf("of a client that calls itself dave Tor got %q, %q", s.user, s.password)
	}
	if streams[0].circuit != streams[1].circuit {
		t.Errorf("they went over circuits %s and %s", streams[0].circuit, streams[1].circuit)
	}
	check(t, "--listen", proxy.addr, "--upstream", upstream.String()).require(t, "upstream", "warning", "share circuits")
}

// With SafeSocks Tor refuses addresses in binary. What a client sends as text gets through, and so does what has no
// client's form: a static peer's address and what check asks.
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

// A proxy that asks for a password keeps it from Tor; its streams have a mark instead, which no other process has.
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
		t.Errorf("of one process Tor had %+v, %+v", streams[0], streams[1])
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

// Tor has a meaning of its own for user names that begin with <torS0X>. One that it refuses is refused by the proxy.
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
