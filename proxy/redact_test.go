package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// addresses matches what no line of a redacted log may have: an address, with or without a port,
// and any name that these tests use. The question whether the proxy is Tor, "0.0.0.0 is not a
// name", is the same for all clients.
var addresses = regexp.MustCompile(`(?i)\d+\.\d+\.\d+\.\d+(:\d+)?|\[?(2001:db8|fc00:|ff02:|::)|example|invalid|onion"|localhost`)

var numbers = regexp.MustCompile(`\d+`)

func addressesIn(line, except string) string {
	for _, known := range []string{except, "0.0.0.0 is not a name", "socks5://127.0.0.1:9050 (Tor)"} {
		if known != "" {
			line = strings.ReplaceAll(line, known, "")
		}
	}
	return addresses.FindString(line)
}

// failures makes sessions end in all known ways, with the addresses of a client and of a peer in
// the errors. It returns the servers' logs.
func failures(t *testing.T, hide bool) (logs []*logBook, upstream string) {
	policy := proxy.Policy{HideAddresses: hide,
		Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers), HandshakeTimeout: time.Second}}
	var mu sync.Mutex
	sessions := make(map[*logBook]int)
	talk := func(e *env, addr string, says ...[]byte) net.Conn {
		client := e.dialTo(addr)
		for _, each := range says {
			client.Write(each)
			client.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // for the answer
			io.Copy(io.Discard, client)
		}
		client.SetReadDeadline(time.Now().Add(patience))
		mu.Lock()
		defer mu.Unlock()
		sessions[e.logs]++
		return client
	}
	greeting := []byte{5, 1, 0}
	to := func(dest string) []byte { return slices.Concat(greeting, request(1, dest)) }
	hello := v1Message(mainnet, "version", version)
	var clients sync.WaitGroup
	both := func(e *env, says ...[]byte) { // one client closes, another resets
		for _, end := range []ending{fin, rst} {
			clients.Go(func() {
				client := talk(e, e.addr, says...)
				end.do(client.(*net.TCPConn))
				client.Close()
			})
		}
	}

	// On the fake network.
	e := start(t, &proxy.Server{Policy: policy})
	logs = append(logs, e.logs)
	e.net.peer("echo.example:80", echo)
	e.net.peer("resets.example:80", func(nc *net.TCPConn, _ int) { reset(nc) })
	e.net.peer("first.example:80", func(nc *net.TCPConn, _ int) { nc.Write([]byte("first")); io.Copy(io.Discard, nc) })
	e.net.peer("good.example:8333", v2Peer(func(c *transport.Conn) {
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
		c.ReadPacket()
		c.ReadPacket()
	}))
	cut := func(k int) func(*net.TCPConn, int) {
		return func(nc *net.TCPConn, _ int) {
			if p, err := newHandPeer(nc, mainnet); err == nil {
				nc.Write(p.flight[:k])
			}
			nc.Read(make([]byte, 8192))
			reset(nc)
		}
	}
	e.net.peer("cut.example:8333", cut(keySize))
	e.net.peer("stops.example:8333", cut(flightSize))
	e.net.peer("v1.example:8333", func(nc *net.TCPConn, dial int) {
		if dial == 1 {
			cut(0)(nc, dial)
			return
		}
		speakV1(nc)
	})
	e.net.peer("gone.example:8333", func(nc *net.TCPConn, _ int) {
		e.net.peer("gone.example:8333", nil)
		nc.Read(make([]byte, 8192))
		reset(nc)
	})
	for _, dest := range []string{"unknown.example:8333", "[2001:db8::7]:8333", "192.0.2.9:1", "name.onion:8333", "echo.example:80", "resets.example:80",
		"first.example:80", "good.example:8333", "cut.example:8333", "stops.example:8333", "v1.example:8333", "bad host.example:1", "port.example:0"} {
		both(e, to(dest), hello, v1Message(mainnet, "ping", nil))
		both(e, to(dest), hello, v1Message(signet, "ping", nil))
		both(e, to(dest), []byte("no Bitcoin"))
		both(e, to(dest), hello[:20])
		both(e, to(dest))
	}
	for _, says := range [][]byte{nil, greeting, {5, 1, 2}, {4, 1}, []byte("GET http://host.example/ HTTP/1.1\r\n"), to("echo.example:80")[:9],
		slices.Concat(greeting, request(2, "echo.example:80")), slices.Concat(greeting, request(9, "echo.example:80")),
		v1Message(mainnet, "version", versionTo("224.0.0.1", 8333)), v1Message(mainnet, "version", versionTo("192.0.2.7", 0)),
		v1Message(mainnet, "version", versionTo("2001:db8::7", 8333)), v1Message(mainnet, "version", nil),
		slices.Concat(greeting, resolveName("192.0.2.7")), slices.Concat(greeting, resolveName("no-such-host.invalid")), slices.Concat(greeting, resolveName("name.onion"))} {
		both(e, says)
	}
	clients.Wait()
	gone := talk(e, e.addr, to("gone.example:8333"), hello)
	wantClosed(t, gone) // and not by the client, in the middle of it
	gone.Close()
	static := e.servePeer("unknown.example:1")
	talk(e, static, hello).Close()
	if hide { // applies to open sessions, too
		open := talk(e, e.addr, to("echo.example:80"), []byte("no Bitcoin, and enough of it"))
		e.server.SetPolicy(policy)
		reset(open)
	}

	// Errors of the system's network, common and rare ones.
	_, outOfRange := netip.ParseAddrPort("10.0.0.2:99999")
	odd := []error{
		&net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 1}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 1}, Err: &net.DNSError{Err: "read udp 10.0.0.1:5->10.0.0.3:53: i/o timeout", Name: "node.example", Server: "10.0.0.3:53", IsTimeout: true}},
		&net.DNSError{Err: "server misbehaving", Name: "node.example", Server: "10.0.0.3:53", IsTemporary: true},
		&net.AddrError{Err: "mismatched local address type", Addr: "10.0.0.2:1"},
		&net.ParseError{Type: "IP address", Text: "10.0.0.2"},
		fmt.Errorf("10.0.0.2:1: %w", io.ErrUnexpectedEOF),
		errors.Join(fmt.Errorf("10.0.0.2:1: %w", syscall.EHOSTUNREACH), errors.New("another")),
		&os.PathError{Op: "open", Path: "10.0.0.2", Err: syscall.ENOENT},
		context.DeadlineExceeded,
		outOfRange,
	}
	dials := make(chan error, len(odd))
	oddly := policy
	oddly.Dialer.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, <-dials }
	o := start(t, &proxy.Server{Policy: oddly})
	logs = append(logs, o.logs)
	for i, err := range odd {
		dials <- err
		talk(o, o.addr, to(fmt.Sprintf("odd%d.example:1", i))).Close()
	}

	// Rules, limits, and the system's network and resolver.
	d := startDirect(t, &proxy.Server{Policy: proxy.Policy{HideAddresses: hide, DenyPassthrough: true,
		Rules: parseRules(t, "deny", "no.example", "deny", "127.0.0.3", "deny", "*:25")}})
	logs = append(logs, d.logs)
	for _, dest := range []string{"no.example:1", "127.0.0.3:1", "other.example:25", "127.0.0.1:1", "localhost:1", "no-such-host.invalid:1", d.addr, "255.255.255.255:1"} {
		talk(d, d.addr, to(dest)).Close()
	}
	full := start(t, &proxy.Server{Policy: policy, MaxSessions: 1})
	logs = append(logs, full.logs)
	first := talk(full, full.addr)
	talk(full, full.addr, to("echo.example:80")).Close()
	first.Close()

	// An upstream proxy that works, and one that does not.
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	u.refuse["refused.example:1"] = socks.ConnectionRefused
	u.refuse["f0.onion:1"] = socks.OnionDescriptorNotFound
	u.resolve["found.example"] = netip.MustParseAddr("192.0.2.8")
	for range 2 {
		e := u.startBehind(t, &proxy.Server{Policy: policy})
		logs = append(logs, e.logs)
		for _, dest := range []string{"refused.example:1", "f0.onion:1", "unknown.example:1", "192.0.2.7:1"} {
			talk(e, e.addr, to(dest)).Close()
		}
		for _, name := range []string{"found.example", "unknown.example"} {
			talk(e, e.addr, slices.Concat(greeting, resolveName(name))).Close()
		}
		upstream = u.Address // of both upstream proxies
		u.Upstream = &socks.Upstream{Network: "tcp", Address: u.Address, Credentials: &socks.Credentials{Username: strings.Repeat("x", 300)}}
	}
	for _, l := range logs {
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			text := l.text()
			n := strings.Count(text, `"msg":"session closed"`) + strings.Count(text, `"msg":"session refused"`) + strings.Count(text, `"msg":"name resolved"`)
			if n >= sessions[l] {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d of %d sessions ended", n, sessions[l])
			}
		}
	}
	return logs, upstream
}

// A redacted log has no addresses, at any level, for any failure.
func TestHideAddresses(t *testing.T) {
	logs, upstream := failures(t, true)
	reasons := make(map[string]bool)
	sessions, unknown := 0, 0
	for _, l := range logs {
		for line := range strings.Lines(l.text()) {
			if found := addressesIn(line, upstream); found != "" {
				t.Errorf("%q is in the log:\n%s", found, line)
			}
		}
		for _, line := range l.all() {
			if line["client"] != nil || line["dest"] != nil || line["addr"] != nil {
				t.Errorf("got %v", line)
			}
			if reason, ok := line["reason"].(string); ok {
				reasons[numbers.ReplaceAllString(reason, "N")] = true
				sessions++
				if strings.Contains(reason, "may have an address in it") {
					unknown++
				}
			}
		}
	}
	for _, want := range []string{ // the reasons are still there
		"cannot connect (the client was told: host unreachable): the name has no address",
		"(redacted) is denied by the rule (redacted)",
		"the client asks for the host (redacted), which is neither a name nor an address",
		"the client asks for port 0 of (redacted)",
		"the client speaks v1 without SOCKS, and the address in its VERSION is not a single host's",
		"the upstream proxy at " + upstream + " did not connect to (redacted): connection refused",
		"the peer hung up during the v2 handshake without an answer, and a second connection failed: the name has no address",
	} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(reasons)), func(r string) bool { return strings.Contains(r, numbers.ReplaceAllString(want, "N")) }) {
			t.Errorf("no session ended because %q", want)
		}
	}
	t.Logf("%d sessions ended for %d reasons", sessions, len(reasons))
	if unknown != 2 {
		t.Errorf("%d errors were redacted as unknown, want 2 of the odd ones", unknown)
	}
	if t.Failed() {
		for reason := range reasons {
			t.Log(reason)
		}
	}
}

// Without redaction the test above would find addresses.
func TestNotHiddenAddresses(t *testing.T) {
	logs, upstream := failures(t, false)
	all := 0
	for i, l := range logs {
		n := 0
		for line := range strings.Lines(l.text()) {
			if addressesIn(line, upstream) != "" {
				n++
			}
		}
		if n < 2 {
			t.Errorf("log %d has %d lines with addresses, want 2 at least:\n%s", i, n, l.text())
		}
		all += n
	}
	t.Logf("%d lines with addresses", all)
}
