package check

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// target parses the address of a peer on mainnet.
func target(t *testing.T, addr string) Target {
	t.Helper()
	to, err := ParseTarget(addr, "mainnet")
	if err != nil {
		t.Fatal(err)
	}
	return to
}

const goodV2 = "ok v2 handshake complete in TIME, on mainnet; the session id is ID " +
	"-> if the node is yours, compare it with the one in its getpeerinfo: if they are equal, there is no man in the middle "
const goodVersion = "ok version /Satoshi:30.0.0/, protocol 70016, at block 917231, offers NETWORK WITNESS NETWORK_LIMITED P2P_V2"

// A v2 peer is reported in full, with its session id, and receives only a VERSION without
// information.
func TestV2Peer(t *testing.T) {
	peer := newV2Peer(mainnet)
	addr := testkit.Serve(t, peer.handle)
	r := PeerReport(within(t), new(Subject), target(t, addr))
	if got, want := text(t, &r), "ok connect ADDR: connected to ADDR in TIME "+goodV2+goodVersion; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s := <-peer.seen
	want := &Peer{
		Peer: addr, Network: "mainnet", Address: addr, Speaks: "v2",
		ConnectSeconds: r.Peer.ConnectSeconds, HandshakeSeconds: r.Peer.HandshakeSeconds, SessionID: hex.EncodeToString(s.sessionID[:]),
		UserAgent: "/Satoshi:30.0.0/", Protocol: 70016, Height: 917_231,
		Services: "0000000000000c09", Offers: []string{"NETWORK", "WITNESS", "NETWORK_LIMITED", "P2P_V2"},
	}
	got, _ := json.Marshal(r.Peer)
	if wanted, _ := json.Marshal(want); string(got) != string(wanted) || !r.OK || r.Peer.ConnectSeconds <= 0 || r.Peer.HandshakeSeconds <= 0 {
		t.Errorf("got  %s\nwant %s", got, wanted)
	}
	if !slices.Equal(s.messages, []string{"version"}) || s.err != io.EOF {
		t.Errorf("the peer received %q and then %v, want a VERSION and EOF", s.messages, s.err)
	}
	if v, ok := v1v2.ParseVersion(s.version); v != (v1v2.Version{Protocol: 70016, UserAgent: "/pynode:0.0.1/"}) || !ok {
		t.Errorf("the peer received %+v", v)
	}
	if nonce := s.version[72:80]; string(nonce) == strings.Repeat("\x00", 8) {
		t.Error("the nonce is 0")
	}
}

// The report tells the failures of peers apart.
func TestOtherPeers(t *testing.T) {
	testnet := newV2Peer([4]byte{0x1c, 0x16, 0x3f, 0x28})
	leaving := newV2Peer(mainnet)
	leaving.version = nil
	mute := newV2Peer(mainnet)
	mute.version = []byte("short")
	const plaintext = "; nothing was sent in plaintext. To tell which, with a VERSION in plaintext, add --v1"
	const altered = " -> the peer is on another network or does not speak v2, or an attacker altered the data; --network says which network the peer should be on"
	const hungUp = "failed v2 the peer hung up during the v2 handshake without an answer (after TIME) -> it speaks v1 only, is full, or bans this address"
	for name, test := range map[string]struct {
		handle func(net.Conn)
		v1     bool
		policy proxy.Policy
		want   string
		speaks string
	}{
		"v1": {handle: v1Peer, want: hungUp + plaintext},
		"v1, where the proxy falls back": {handle: v1Peer, policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}},
			want: hungUp + plaintext + "; the proxy, with its --v1-fallback, would go on in plaintext, unless it knows that this peer speaks v2"},
		"v1, where its network does not encrypt": {handle: v1Peer, policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Overlay}},
			want: hungUp + plaintext + "; the proxy, with its --v1-fallback, would not go on in v1: it is neither a Tor nor a CJDNS address"},
		"v1, asked": {handle: v1Peer, v1: true, speaks: "v1", want: hungUp +
			" ok v1 the peer answers in v1, and so speaks v1 only: " + strings.TrimPrefix(goodVersion, "ok version ") +
			" -> the proxy does not connect to it, except with --v1-fallback always, in plaintext; how to reach only this one: docs/fallback.md#one-old-peer"},
		"v1 that speaks first": {handle: says(string(v1v2.AppendMessage(nil, mainnet, v1v2.TypeOf("version"), make([]byte, 90)))), speaks: "v1",
			want: "failed v2 the peer speaks v1: it sent a VERSION of mainnet -> the proxy does not connect to it, except with --v1-fallback always, in plaintext; how to reach only this one: docs/fallback.md#one-old-peer"},
		"v1 of another network that speaks first": {handle: says(string(v1v2.AppendMessage(nil, [4]byte{1, 2, 3, 4}, v1v2.TypeOf("version"), make([]byte, 90)))),
			want: "failed v2 the peer speaks v1, and on another network than mainnet: 01020304 -> --network says which network the peer should be on"},
		"full": {handle: closing, want: hungUp + plaintext},
		"full, asked": {handle: closing, v1: true, want: hungUp +
			" failed v1 the peer does not answer in v1 either: the connection was closed -> it is full, bans this address, or is not a Bitcoin node of mainnet"},
		"silent":  {handle: silent, want: "failed v2 the peer did not answer the v2 handshake in time (after TIME) -> it speaks v1 only, is not a Bitcoin node, or a firewall drops what is sent" + plaintext},
		"garbage": {handle: says(strings.Repeat("garbage", 1000)), want: "failed v2 the v2 handshake failed waiting for the peer's garbage terminator (NUMBER bytes sent, 4175 received): no garbage terminator in 4111 bytes" + altered},
		"SSH": {handle: func(nc net.Conn) { io.WriteString(nc, "SSH-2.0-OpenSSH_9.9\r\n"); closing(nc); stopSending(nc) },
			want: "failed v2 the peer is not a Bitcoin node: it answered in SSH -> check that the address and the port are right"},
		"a web server": {handle: func(nc net.Conn) {
			io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 11\r\nConnection: close\r\n\r\nBad Request")
			closing(nc)
			stopSending(nc)
		}, want: "failed v2 the peer is not a Bitcoin node: it answered in HTTP, as a web server does -> check that the address and the port are right"},
		"TLS": {handle: func(nc net.Conn) { io.WriteString(nc, "\x15\x03\x01\x00\x02\x02\x46"); closing(nc); stopSending(nc) },
			want: "failed v2 the peer is not a Bitcoin node: it answered in TLS, as a web server does -> check that the address and the port are right"},
		"a few bytes": {handle: func(nc net.Conn) { io.WriteString(nc, "220 mail.example\r\n"); closing(nc); stopSending(nc) },
			want: "failed v2 the v2 handshake failed waiting for the peer's key (NUMBER bytes sent, 18 received): the connection was closed" +
				" -> the peer does not speak v2, and is probably not a Bitcoin node; or an attacker cut the connection; --network says which network the peer should be on"},
		"another network": {handle: testnet.handle, want: "another network"},
		"leaving": {handle: leaving.handle, speaks: "v2", want: goodV2 + "warning version the peer closed the connection before its VERSION " +
			"-> it speaks v2, but does not want this connection: it may be full, or ban this address"},
		"no VERSION": {handle: mute.handle, speaks: "v2", want: goodV2 + "warning version no VERSION came: what it sent was not VERSION " +
			"-> it speaks v2, but does not want this connection: it may be full, or ban this address"},
	} {
		t.Run(name, func(t *testing.T) {
			test.policy.Dialer.HandshakeTimeout = 500 * time.Millisecond
			to := target(t, testkit.Serve(t, test.handle))
			to.V1 = test.v1
			r := PeerReport(within(t), &Subject{Policy: test.policy}, to)
			got := regexp.MustCompile(`\d+ bytes sent`).ReplaceAllString(text(t, &r), "NUMBER bytes sent") // garbage is random
			if want := "ok connect ADDR: connected to ADDR in TIME " + test.want; got != want && name != "another network" || !strings.Contains(got, test.want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if r.OK != (test.speaks == "v2") || r.Peer.Speaks != test.speaks {
				t.Errorf("OK is %v, and the peer speaks %q, want %q", r.OK, r.Peer.Speaks, test.speaks)
			}
		})
	}
}

// A handshake that fails in a way without advice has no hint.
func TestNoHint(t *testing.T) {
	for _, err := range []error{io.ErrShortWrite, &transport.HandshakeError{Received: 100, Err: io.ErrShortWrite}} {
		p := prober{subject: new(Subject), report: Report{Peer: &Peer{Network: "mainnet"}}}
		p.noHandshake(t.Context(), nil, err, time.Second)
		if got := p.report.Checks; len(got) != 1 || got[0].State != Failed || got[0].Hint != "" {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

// If the first address of a name fails, the report names the one that works.
func TestAnotherAddress(t *testing.T) {
	bad := testkit.Serve(t, closing)
	_, port, _ := net.SplitHostPort(bad)
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skipf("not run: cannot listen on 127.0.0.2: %v", err)
	}
	peer := newV2Peer(mainnet)
	served := make(chan struct{})
	go func() {
		defer close(served)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		peer.handle(nc)
	}()
	defer func() { l.Close(); <-served }()
	var policy proxy.Policy
	policy.Dialer.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}, nil
	}
	r := PeerReport(within(t), &Subject{Policy: policy}, target(t, "localhost:"+port))
	if got := text(t, &r); !strings.Contains(got, "handshake complete with 127.0.0.2:"+port+", another address of that name, in TIME") || r.Peer.Address != "127.0.0.2:"+port {
		t.Errorf("got %+v, %s", r.Peer, got)
	}
}

// stopSending closes the connection in order: a close with unread data would be a reset.
func stopSending(nc net.Conn) {
	nc.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, nc)
}

// Without --v1 no plaintext is sent: a v1 peer sees one connection, without the magic.
func TestNoPlaintextUnasked(t *testing.T) {
	got := make(chan []byte, 10)
	addr := testkit.Serve(t, func(nc net.Conn) {
		b := make([]byte, 8192)
		n, _ := nc.Read(b)
		got <- b[:n]
	})
	policy := proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}
	policy.Dialer.Peers.Note(addr, fallback.SpeaksV1) // check does not read the known peers either
	PeerReport(within(t), &Subject{Policy: policy}, target(t, addr))
	if b := <-got; len(b) < transport.KeySize || strings.HasPrefix(string(b), string(mainnet[:])) || len(got) > 0 {
		t.Errorf("the peer received % x and %d more connections", b, len(got))
	}
	if policy.Dialer.Peers.Lookup(addr) != fallback.SpeaksV1 {
		t.Error("the known peers changed")
	}
}

// Control characters from a peer do not reach the terminal.
func TestHostileUserAgent(t *testing.T) {
	peer := newV2Peer(mainnet)
	peer.version = v1v2.AppendVersion(nil, v1v2.Version{UserAgent: "/\x1b[2J\x07\u009b/", Services: 1<<63 | 1<<40}, 1)
	r := PeerReport(within(t), new(Subject), target(t, testkit.Serve(t, peer.handle)))
	if got, want := text(t, &r), "ok version /?[2J???/, protocol 0, at block 0, offers UNKNOWN[2^40] UNKNOWN[2^63]"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s", got)
	}
}

// If connecting fails, the report names the cause and its place.
func TestCannotConnect(t *testing.T) {
	must := func(text string) rules.Rule {
		rule, err := rules.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		return rule
	}
	tor := newFakeTor(t)
	gone := testkit.Nobody(t)
	for name, test := range map[string]struct {
		peer   string
		policy proxy.Policy
		want   string
	}{
		"refused":          {gone, proxy.Policy{}, "failed connect ADDR: cannot connect: connection refused -> check that the address and the port are right, and that a node runs there and listens"},
		"an onion service": {"abc.onion", proxy.Policy{}, "failed connect abc.onion:8333: Tor and I2P addresses cannot be reached without an upstream proxy -> set the client's own proxy for such addresses (Bitcoin Core: -onion=, -i2psam=), or, for .onion, run with --upstream socks5://ADDR (Tor), or stop the client from asking (Bitcoin Core: noonion=1)"},
		"denied": {"10.1.2.3", proxy.Policy{Rules: rules.Rules{Deny: []rules.Rule{must("10.0.0.0/8")}}},
			"failed connect 10.1.2.3:8333 is denied by the rule 10.0.0.0/8 -> the rule is one of deny (--deny, BIP324_PROXY_DENY); if clients may go there, remove it, or add 10.1.2.3:8333 to allow (--allow, BIP324_PROXY_ALLOW)"},
		"denied, in other words": {"localhost:" + strings.TrimPrefix(gone, "127.0.0.1:"), proxy.Policy{Rules: rules.Rules{Deny: []rules.Rule{must("private")}}},
			"failed connect ADDR is denied by the rule private -> the rule is one of deny (--deny, BIP324_PROXY_DENY); if clients may go there, remove it, or add ADDR to allow (--allow, BIP324_PROXY_ALLOW)"},
		"Tor cannot": {"192.0.2.1:1", proxy.Policy{Upstream: tor.upstream()},
			"ok upstream ADDR: this is Tor: it answers as only Tor does -> only a peer can show whether it is connected to its network: bip324-proxy check HOST:PORT " +
				"failed connect the upstream proxy at ADDR did not connect to 192.0.2.1:1: host unreachable " +
				"-> the address may be wrong, or the peer not running; or the upstream proxy has no connection itself: see its log"},
		"there is no Tor": {"192.0.2.1", proxy.Policy{Upstream: &socks.Upstream{Network: "tcp", Address: gone}},
			"failed upstream ADDR: nothing is listening there: connection refused -> start that proxy, or correct --upstream; until then all connections through it fail " +
				"skipped connect 192.0.2.1:8333: nothing goes around the upstream proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			r := PeerReport(within(t), &Subject{Policy: test.policy}, target(t, test.peer))
			got := text(t, &r)
			if got != test.want && !strings.HasSuffix(test.want, " ") || !strings.HasPrefix(got, test.want) || r.OK {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if strings.HasPrefix(name, "denied") && !strings.Contains(got, "is denied by the rule") {
				t.Errorf("got %s", got)
			}
		})
	}
}

// The proxy's own address is not checked as a peer, under any name.
func TestOwnListener(t *testing.T) {
	addr := testkit.Serve(t, silent)
	_, port, _ := net.SplitHostPort(addr)
	private, err := rules.ParseRule("private")
	if err != nil {
		t.Fatal(err)
	}
	policy := proxy.Policy{Rules: rules.Rules{Allow: []rules.Rule{private}}}
	for _, c := range []struct{ listener, peer string }{
		{addr, addr}, {addr, "localhost:" + port}, {"0.0.0.0:" + port, addr}, {"[::]:" + port, "localhost:" + port}, {":" + port, addr},
	} {
		peer := c.peer
		r := PeerReport(within(t), &Subject{Policy: policy, Listeners: []Listener{{Address: c.listener}}}, target(t, peer))
		if got := text(t, &r); !strings.HasSuffix(got, "failed connect ADDR: this is the proxy's own listener, not a peer -> to check that, give no HOST:PORT") {
			t.Errorf("%s: got %s", peer, got)
		}
	}
}

// With Tor as upstream, only Tor resolves the peer's name.
func TestPeerThroughTor(t *testing.T) {
	resolver := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		t.Errorf("DNS lookup at %s", addr)
		return nil, errors.New("no name server for this test")
	}}
	t.Cleanup(func() { net.DefaultResolver = resolver })
	tor := newFakeTor(t)
	peer := newV2Peer(mainnet)
	_, port, _ := net.SplitHostPort(testkit.Serve(t, peer.handle))
	for _, host := range []string{"node.invalid", "abc.onion", "192.0.2.7"} {
		dest := net.JoinHostPort(host, port)
		policy := proxy.Policy{Upstream: tor.upstream()}
		policy.Dialer.Dial = func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialled directly")
			return nil, errors.New("no direct connection for this test")
		}
		r := PeerReport(within(t), &Subject{Policy: policy}, target(t, dest))
		want := "ok upstream ADDR: this is Tor: it answers as only Tor does -> only a peer can show whether it is connected to its network: bip324-proxy check HOST:PORT "
		if host != "192.0.2.7" {
			want += "ok names no leak: names go to Tor, which resolves them at its exits; this machine looks up none "
		}
		want += "ok connect " + dest + ": connected through the upstream proxy in TIME " + goodV2 + goodVersion
		if got := text(t, &r); got != want || r.Peer.Address != "" || r.Peer.Speaks != "v2" {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		<-peer.seen
		tor.mu.Lock()
		if !slices.Equal(tor.asked, []string{dest}) {
			t.Errorf("Tor received requests for %q, want %s", tor.asked, dest)
		}
		tor.asked = nil
		tor.mu.Unlock()
	}
}

// Cancelling does not wait for a silent peer.
func TestPeerCancelled(t *testing.T) {
	arrived := make(chan struct{})
	addr := testkit.Serve(t, func(nc net.Conn) { close(arrived); silent(nc) })
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		<-arrived
		cancel()
	}()
	began := time.Now()
	r := PeerReport(ctx, new(Subject), target(t, addr))
	if r.OK || time.Since(began) > direct.handshake/2 {
		t.Errorf("%+v after %v", r, time.Since(began))
	}
}

// If all listeners are public, a destination is judged as for their clients.
func TestRulesOfPublicListeners(t *testing.T) {
	gone := testkit.Nobody(t)
	const private = "the client's listener is open to other machines"
	for _, c := range []struct {
		listeners []string
		public    bool
	}{
		{[]string{"172.30.0.2:1324"}, true},
		{[]string{"0.0.0.0:1324", "[::]:1324"}, true},
		{[]string{"172.30.0.2:1324", "127.0.0.1:1324"}, false},
		{[]string{"172.30.0.2:1324", "unix:/run/bip324-proxy/socks"}, false},
		{[]string{"[::1]:1324"}, false},
		{nil, false},
	} {
		s := new(Subject)
		for _, addr := range c.listeners {
			s.Listeners = append(s.Listeners, Listener{Address: addr})
		}
		r := PeerReport(within(t), s, target(t, gone))
		if got := text(t, &r); strings.Contains(got, private) != c.public {
			t.Errorf("%q: got %s", c.listeners, got)
		}
	}
}

// A peer whose network was guessed from its port, and wrong, is not said to be attacked: the hint
// begins with the other networks. localhost is not looked up, so nothing is said of DNS servers.
func TestGuessedNetwork(t *testing.T) {
	regtest := newV2Peer([4]byte{0xfa, 0xbf, 0xb5, 0xda})
	signet := says(string(v1v2.AppendMessage(nil, [4]byte{0x0a, 0x03, 0xcf, 0x40}, v1v2.TypeOf("version"), make([]byte, 90))))
	for name, handle := range map[string]func(net.Conn){"v2": regtest.handle, "v1": signet, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			_, port, err := net.SplitHostPort(testkit.Serve(t, handle))
			if err != nil {
				t.Fatal(err)
			}
			to, err := ParseTarget("localhost:"+port, "")
			if err != nil || !to.Guessed {
				t.Fatalf("got %+v, %v", to, err)
			}
			var policy proxy.Policy
			policy.Dialer.HandshakeTimeout = 500 * time.Millisecond
			r := PeerReport(within(t), &Subject{Policy: policy}, to)
			got := text(t, &r)
			want := " -> it was checked as a mainnet peer, because of the port; for another network: bip324-proxy check --network regtest localhost:" + port
			if !strings.Contains(got, want) || strings.Contains(got, "names ") {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// A listener that is open to other machines refuses the test's destination; that is as it should be.
func TestPublicListenerRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &proxy.Server{Log: slog.New(slog.DiscardHandler)}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	address := l.Addr().(*net.TCPAddr)
	s := &Subject{}
	r := s.listener(within(t), Listener{Address: fmt.Sprintf("0.0.0.0:%d", address.Port)}, false)
	if r.State != OK || !strings.Contains(r.What, "it refuses this test's destination, as it should: it is open to other machines") {
		t.Errorf("got %+v", r)
	}
}
