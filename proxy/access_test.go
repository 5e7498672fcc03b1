package proxy_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// parseRules parses rules, each preceded by "allow" or "deny".
func parseRules(t *testing.T, words ...string) (r rules.Rules) {
	t.Helper()
	for i := 0; i < len(words); i += 2 {
		rule, err := rules.ParseRule(words[i+1])
		if err != nil {
			t.Fatal(err)
		}
		if words[i] == "allow" {
			r.Allow = append(r.Allow, rule)
		} else {
			r.Deny = append(r.Deny, rule)
		}
	}
	return r
}

// resolver resolves every name to what answer returns, until the test ends. n is the
// number of look-ups for IPv4 before this one.
func resolver(t *testing.T, answer func(n int) []netip.Addr) (lookups *atomic.Int64) {
	t.Helper()
	lookups = new(atomic.Int64)
	testkit.DNS(t, func(q dnsmessage.Question) (ips []netip.Addr, exists bool) {
		if q.Type == dnsmessage.TypeA {
			ips = answer(int(lookups.Add(1)) - 1)
		}
		return ips, true
	})
	return lookups
}

// A place is a port of two loopback addresses. No connection may reach the second.
type place struct {
	good, bad   netip.Addr
	port        string
	came, wrong atomic.Int64
}

// newPlace serves connections to the good address.
func newPlace(t *testing.T, serve func(nc *net.TCPConn, n int)) *place {
	t.Helper()
	p := &place{good: netip.MustParseAddr("127.0.0.1"), bad: netip.MustParseAddr("127.0.0.2")}
	good, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, p.port, _ = net.SplitHostPort(good.Addr().String())
	bad, err := net.Listen("tcp", p.bad.String()+":"+p.port)
	if err != nil {
		good.Close()
		t.Skip("not run: cannot listen on 127.0.0.2")
	}
	var conns sync.WaitGroup
	accept := func(l net.Listener, n *atomic.Int64, serve func(nc *net.TCPConn, n int)) {
		conns.Go(func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				conns.Go(func() {
					defer nc.Close()
					serve(nc.(*net.TCPConn), int(n.Add(1)))
				})
			}
		})
	}
	accept(good, &p.came, serve)
	accept(bad, &p.wrong, func(*net.TCPConn, int) {})
	t.Cleanup(func() {
		good.Close()
		bad.Close()
		conns.Wait()
		if n := p.wrong.Load(); n > 0 {
			t.Errorf("%d connections to %v, which is denied", n, p.bad)
		}
	})
	return p
}

func (p *place) addr(host string) string { return net.JoinHostPort(host, p.port) }

// hangUpOnV2 plays a v1-only node.
func hangUpOnV2(nc *net.TCPConn, _ int) { nc.Read(make([]byte, 64)); reset(nc) }

// If the answers for a name change, the rules judge each answer anew.
func TestRebinding(t *testing.T) {
	p := newPlace(t, echo)
	lookups := resolver(t, func(n int) []netip.Addr { return []netip.Addr{[]netip.Addr{p.good, p.bad}[n%2]} })
	e := startDirect(t, &proxy.Server{Policy: proxy.Policy{Rules: parseRules(t, "deny", "127.0.0.2", "allow", "*.example")}})
	for i := range 20 {
		client := e.dial()
		want := []byte{0, 2}[i%2]
		if code, err := ask(client, p.addr("rebind.example")); code != want || err != nil {
			t.Errorf("reply %d, %v; want %d", code, err, want)
		}
		client.Close()
		if want == 0 {
			e.wantEnd(client, "refused", "the client closed the connection before the session was open")
			continue
		}
		line := e.wantEnd(client, "refused", p.addr("127.0.0.2")+" is denied by the rule 127.0.0.2")
		wantAttrs(t, line, logLine{"level": "WARN", "dest": p.addr("rebind.example")})
	}
	if n := lookups.Load(); n != 20 {
		t.Errorf("%d look-ups for 20 dials, want 20: the address that was judged must be the one dialled", n)
	}
}

// Rules also apply to the other addresses of a name.
func TestRulesForLaterDials(t *testing.T) {
	p := newPlace(t, hangUpOnV2)
	resolver(t, func(int) []netip.Addr { return []netip.Addr{p.good, p.bad} })
	e := startDirect(t, &proxy.Server{Policy: proxy.Policy{Rules: parseRules(t, "allow", "127.0.0.1", "deny", "private")}})
	client := e.connect(p.addr("node.example"))
	client.Write(v1Message(mainnet, "version", version))
	wantClosed(t, client)
	e.wantEnd(client, "refused", "hung up during the v2 handshake")
	if n := p.came.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// All dials of a session use the addresses from its first look-up.
func TestOneLookupPerSession(t *testing.T) {
	p := newPlace(t, hangUpOnV2)
	lookups := resolver(t, func(n int) []netip.Addr { return []netip.Addr{p.good, p.bad}[min(n, 1):][:1] })
	e := startDirect(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}}})
	client := e.connect(p.addr("node.example"))
	client.Write(v1Message(mainnet, "version", version))
	wantClosed(t, client)
	client.Close()
	e.end(client)
	if came, n := p.came.Load(), lookups.Load(); came != 3 || n != 1 {
		t.Errorf("%d connections after %d look-ups, want 3 after 1", came, n)
	}
}

// The rules apply to every way in which a client can name its destination.
func TestRulesForEveryWayIn(t *testing.T) {
	p := newPlace(t, echo)
	resolver(t, func(int) []netip.Addr { return []netip.Addr{p.bad} })
	e := startDirect(t, &proxy.Server{Policy: proxy.Policy{Rules: parseRules(t, "deny", "127.0.0.2", "deny", "*.secret.example")}})
	port := netip.MustParseAddrPort(p.addr("127.0.0.1")).Port()
	for name, c := range map[string]struct {
		addr string
		says []byte
		want string // all that the client receives
		why  string
	}{
		"address":         {e.addr, slices.Concat([]byte("\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x02"), binary.BigEndian.AppendUint16(nil, port)), "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "is denied by the rule 127.0.0.2"},
		"mapped":          {e.addr, slices.Concat([]byte{5, 1, 0}, request(1, p.addr("::ffff:127.0.0.2"))), "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "is denied by the rule 127.0.0.2"},
		"name":            {e.addr, slices.Concat([]byte{5, 1, 0}, request(1, p.addr("a.secret.example"))), "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "is denied by the rule *.secret.example"},
		"RESOLVE":         {e.addr, slices.Concat([]byte{5, 1, 0}, resolveName("a.Secret.example.")), "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "a.Secret.example. is denied by the rule *.secret.example"},
		"RESOLVE address": {e.addr, slices.Concat([]byte{5, 1, 0}, resolveName("127.0.0.2")), "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "is denied by the rule 127.0.0.2"},
		"RESOLVE answer":  {e.addr, slices.Concat([]byte{5, 1, 0}, resolveName("node.example")), "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "is denied by the rule 127.0.0.2"},
		"VERSION":         {e.addr, v1Message(mainnet, "version", versionTo("127.0.0.2", port)), "", "is denied by the rule 127.0.0.2"},
		"--peer":          {e.servePeer(p.addr("127.0.0.2")), v1Message(mainnet, "version", version), "", "is denied by the rule 127.0.0.2"},
		"--peer, name":    {e.servePeer(p.addr("node.example")), v1Message(mainnet, "version", version), "", "is denied by the rule 127.0.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			client := e.dialTo(c.addr)
			client.Write(c.says)
			if got, _ := io.ReadAll(client); string(got) != c.want {
				t.Errorf("answer % x, want % x", got, c.want)
			}
			client.Close()
			wantAttrs(t, e.wantEnd(client, "refused", c.why), logLine{"level": "WARN"})
		})
	}
}

// With an upstream proxy, names and addresses are judged as the client sent them, and refused ones
// do not reach that proxy.
func TestRulesWithUpstream(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Rules: parseRules(t, "deny", "*.onion", "deny", "192.0.2.0/24", "deny", "*:25")}})
	for _, dest := range []string{"name.onion:8333", "192.0.2.7:8333", "node.example:25"} {
		client := e.dial()
		if code, err := ask(client, dest); code != 2 || err != nil {
			t.Errorf("%s: reply %d, %v; want 2", dest, code, err)
		}
		e.wantEnd(client, "refused", "is denied by the rule")
	}
	client := e.dial()
	if got := askResolve(t, client, resolveName("name.onion")); got[1] != byte(socks.NotAllowed) {
		t.Errorf("RESOLVE: got % x", got)
	}
	e.wantEnd(client, "refused", "is denied by the rule *.onion")
	u.resolve["node.example"] = netip.MustParseAddr("192.0.2.9")
	client = e.dial()
	if got := askResolve(t, client, resolveName("node.example")); got[1] != byte(socks.NotAllowed) {
		t.Errorf("RESOLVE: got % x", got)
	}
	e.wantEnd(client, "refused", "is denied by the rule 192.0.2.0/24")
	if all, want := u.requests(), []asked{{socks.CommandResolve, "node.example", "", ""}}; !slices.Equal(all, want) {
		t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
	}
}

// Other spellings of an address are the same address, and the names of this machine lead to it,
// whatever resolves them.
func TestRulesForDisguises(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Rules: parseRules(t, "deny", "private")}})
	static := e.servePeer("LocalHost.:8333")
	for _, host := range []string{"127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "0", "::1", "::ffff:127.0.0.1", "10.1",
		"localhost", "LOCALHOST", "localhost.", "localhost..", "a.b.localhost.", "localhost6", "ip6-localhost", "localhost.localdomain", "64:ff9b:1::7f00:1", "::ffff:0:127.0.0.1"} {
		client := e.dial()
		if code, err := ask(client, net.JoinHostPort(host, "8333")); code != 2 || err != nil {
			t.Errorf("%s: reply %d, %v; want 2", host, code, err)
		}
		e.wantEnd(client, "refused", "is denied by the rule private")
		client = e.dial()
		if got := askResolve(t, client, resolveName(host)); got[1] != byte(socks.NotAllowed) {
			t.Errorf("RESOLVE %s: got % x", host, got)
		}
		e.wantEnd(client, "refused", "is denied by the rule private")
	}
	for _, host := range []string{"127.0.0.1.1", "08.1", "4294967296", "node.0x1"} { // ambiguous
		client := e.dial()
		if code, err := ask(client, net.JoinHostPort(host, "8333")); code != 1 || err != nil {
			t.Errorf("%s: reply %d, %v; want 1", host, code, err)
		}
		client.Close()
		e.wantEnd(client, "refused", "neither a name nor an address")
	}
	client := e.dialTo(static)
	client.Write(v1Message(mainnet, "version", version))
	wantClosed(t, client)
	e.wantEnd(client, "refused", "is denied by the rule private")
	if all := u.requests(); len(all) > 0 {
		t.Errorf("requests to the upstream proxy: %v, want none", all)
	}
}

// A web page can make the browser send requests to a local port. Whatever these contain, nothing is
// dialled and the page learns nothing about the port.
func TestWebPage(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	inside := string(slices.Concat([]byte{5, 1, 0}, request(1, "node.example:8333"), v1Message(mainnet, "version", versionTo("127.0.0.1", 80))))
	for name, says := range map[string]string{
		"GET":             "GET / HTTP/1.1\r\nHost: 127.0.0.1:1324\r\nOrigin: https://page.example\r\nSec-Fetch-Mode: no-cors\r\n\r\n",
		"rebound GET":     "GET / HTTP/1.1\r\nHost: page.example:1324\r\n\r\n",
		"POST":            "POST / HTTP/1.1\r\nHost: 127.0.0.1:1324\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\n" + inside,
		"preflight":       "OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1:1324\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
		"WebSocket":       "GET / HTTP/1.1\r\nHost: 127.0.0.1:1324\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n" + inside,
		"HTTP/2":          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inside,
		"TLS":             "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + inside,
		"proxy of a page": "CONNECT node.example:8333 HTTP/1.1\r\nHost: node.example:8333\r\n\r\n" + inside,
	} {
		t.Run(name, func(t *testing.T) {
			client := e.dial()
			io.WriteString(client, says)
			wantClosed(t, client)
			e.wantEnd(client, "refused", "the client")
		})
	}
	if len(e.net.dials) > 0 {
		t.Errorf("dialled %v, want nothing", e.net.dials)
	}
}
