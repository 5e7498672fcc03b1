package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// The upstream proxy gets the URL's credentials if it has any, otherwise the client's, on the first
// dial and on the one for v1.
func TestUpstreamCredentials(t *testing.T) {
	t.Parallel()
	own := &socks.Credentials{Username: "of-the-url", Password: "pass-of-the-url"}
	for _, c := range []struct {
		name           string
		own            *socks.Credentials
		user, password string // the client's
		want           [2]string
	}{
		{"none", nil, "", "", [2]string{}},
		{"the URL's", own, "", "", [2]string{"of-the-url", "pass-of-the-url"}},
		{"the client's", nil, "deadbeef-1", "deadbeef-1", [2]string{"deadbeef-1", "deadbeef-1"}},
		{"the URL's, not the client's", own, "deadbeef-1", "deadbeef-2", [2]string{"of-the-url", "pass-of-the-url"}},
		{"a name alone", nil, "account", "", [2]string{"account", ""}},
		{"any bytes", nil, "a\x00:@\xff", "b\n%41", [2]string{"a\x00:@\xff", "b\n%41"}},
		{"the longest", nil, strings.Repeat("u", 255), strings.Repeat("p", 255), [2]string{strings.Repeat("u", 255), strings.Repeat("p", 255)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUpstream(t, "tcp", "127.0.0.1:0")
			u.Credentials = c.own
			e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}}})
			const v1, v2 = "old.invalid:8333", "new.invalid:8333"
			gotV1, gotV2 := e.v1Node(t, v1, fin), e.v2Recorder(v2)
			for _, dest := range []string{v1, v2} {
				client := e.dial()
				if code, err := askAs(client, c.user, c.password, dest); code != 0 || err != nil {
					t.Fatalf("reply %d, %v", code, err)
				}
				client.Write(v1Message(mainnet, "version", version))
				if dest == v1 {
					e.wantV1(t, client, dest, gotV1)
					continue
				}
				leave(t, client)
				want := []string{longContents("version", version)}
				if all := receive(t, gotV2, "the peer"); !slices.Equal(all, want) {
					t.Errorf("the peer received %q, want %q", all, want)
				}
				wantAttrs(t, e.end(client), logLine{"msg": "session closed", "transport": "v2", "dest": dest})
			}
			want := []asked{
				{socks.CommandConnect, v1, c.want[0], c.want[1]}, // v2
				{socks.CommandConnect, v1, c.want[0], c.want[1]}, // v2 again
				{socks.CommandConnect, v1, c.want[0], c.want[1]}, // v1
				{socks.CommandConnect, v2, c.want[0], c.want[1]},
			}
			if all := u.requests(); !slices.Equal(all, want) {
				t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
			}
			for _, secret := range []string{"deadbeef", "of-the-url", "account", "uuuu", "pppp"} {
				if strings.Contains(e.logs.text(), secret) {
					t.Errorf("%q is in the log:\n%s", secret, e.logs.text())
				}
			}
		})
	}
}

// Streams with distinct credentials stay distinct, also concurrently.
func TestUpstreamIsolation(t *testing.T) {
	t.Parallel()
	const dest, n = "node.invalid:8333", 50
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}}})
	e.net.peer(dest, func(nc *net.TCPConn, _ int) { // v1 only: hangs up on v2
		if b, err := bufio.NewReader(nc).Peek(4); err == nil && bytes.Equal(b, mainnet[:]) {
			nc.Write(v1Message(mainnet, "version", version))
			io.Copy(io.Discard, nc)
		}
	})
	clients := make([]net.Conn, n)
	for i := range clients {
		clients[i] = e.dial()
	}
	each(n, n, func(i int) {
		name := fmt.Sprintf("circuit-%d", i)
		if code, err := askAs(clients[i], name, name, dest); code != 0 || err != nil {
			t.Errorf("reply %d, %v", code, err)
		}
		clients[i].Write(v1Message(mainnet, "version", version))
		if name, _, err := readV1(clients[i]); name != "version" || err != nil {
			t.Errorf("got %s, %v", name, err)
		}
		hangUp(clients[i])
		clients[i].Close()
	})
	dials := make(map[string]int)
	for _, a := range u.requests() {
		if a.user != a.password {
			t.Errorf("user name %q with the password %q", a.user, a.password)
		}
		dials[a.user]++
	}
	if len(dials) != n {
		t.Errorf("%d distinct credentials arrived, want %d", len(dials), n)
	}
	for i := range n {
		if k := dials[fmt.Sprintf("circuit-%d", i)]; k != 3 {
			t.Errorf("circuit-%d had %d dials, want two for v2 and one for v1", i, k)
		}
	}
}

// The client gets the upstream proxy's reply code, reduced to the codes that all clients know; the
// log has the precise one.
func TestUpstreamReplies(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	e := u.startBehind(t, new(proxy.Server))
	for _, c := range []struct {
		upstream, client byte
		why              string
	}{
		{1, 1, "general failure"},
		{2, 2, "not allowed"},
		{3, 3, "network unreachable"},
		{4, 4, "host unreachable"},
		{5, 5, "connection refused"},
		{6, 6, "TTL expired"},
		{7, 7, "command not supported"},
		{8, 8, "address type not supported"},
		{9, 1, "reply 0x09"},
		{0xEF, 1, "reply 0xef"},
		{0xF0, 4, "descriptor not found"},
		{0xF1, 4, "descriptor invalid"},
		{0xF2, 4, "introduction to the onion service failed"},
		{0xF3, 4, "rendezvous with the onion service failed"},
		{0xF4, 1, "requires client authorization"},
		{0xF5, 1, "rejects the client authorization"},
		{0xF6, 4, "onion address invalid"},
		{0xF7, 4, "introduction to the onion service timed out"},
		{0xF8, 1, "reply 0xf8"},
		{0xFF, 1, "reply 0xff"},
	} {
		t.Run(fmt.Sprintf("%02x", c.upstream), func(t *testing.T) {
			dest := fmt.Sprintf("%02xpeer.onion:8333", c.upstream)
			u.refuse[dest] = socks.ReplyCode(c.upstream)
			client := e.dial()
			if code, err := ask(client, dest); code != c.client || err != nil {
				t.Errorf("reply %d, %v; want %d", code, err, c.client)
			}
			wantClosed(t, client)
			line := e.wantEnd(client, "refused", c.why)
			if reason := line["reason"].(string); !strings.Contains(reason, "the upstream proxy at "+u.Address+" did not connect to "+dest) {
				t.Errorf("got the reason %q", reason)
			}
			if all, want := u.requests(), []asked{{socks.CommandConnect, dest, "", ""}}; !slices.Equal(all, want) {
				t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
			}
		})
	}
}

// If the upstream proxy is down, nothing is dialled directly.
func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	u.Address = l.Addr().String()
	e := u.startBehind(t, new(proxy.Server))
	e.server.ProbeUpstream(t.Context())
	if s := e.server.Snapshot().Upstream; s == nil || s.State != "failed" || s.Since.IsZero() || s.Hint == "" ||
		s.Reason != "the upstream proxy "+u.Address+" cannot be reached: connection refused" {
		t.Errorf("after the probe: got %+v", s)
	}
	if warned := e.logs.with("the upstream proxy cannot be used", "WARN"); len(warned) != 1 {
		t.Errorf("%d warnings", len(warned))
	}
	for i, dest := range []string{"node.invalid:8333", "192.0.2.7:8333", "[2001:db8::7]:8333", "name.onion:8333"} {
		client := e.dial()
		if code, err := ask(client, dest); code != 1 || err != nil {
			t.Errorf("%s: reply %d, %v; want 1", dest, code, err)
		}
		wantClosed(t, client)
		line := e.wantEnd(client, "refused", "cannot reach the upstream proxy at "+u.Address)
		wantAttrs(t, line, logLine{"dest": dest, "level": "WARN"})
		now := e.until("the refusal", func(s proxy.Snapshot) bool { return len(s.Refusals) == i+1 })
		if r := now.Refusals[0]; r.Kind != "upstream" || r.Dest != dest || !strings.Contains(r.Hint, "start that proxy") {
			t.Errorf("got %+v", r)
		}
		if f := now.Failing; f == nil || f.Count != uint64(i+1) || f.Kind != "upstream" || f.OfKind != f.Count || f.Hint == "" {
			t.Errorf("after %d attempts: got %+v", i+1, f)
		}
	}
	// The upstream proxy is back.
	l, err = net.Listen("tcp", u.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for nc, err := l.Accept(); err == nil; nc, err = l.Accept() {
			go u.serve(nc)
		}
	}()
	e.net.peer("node.invalid:8333", v2Peer(func(c *transport.Conn) { c.ReadPacket() }))
	client := e.connect("node.invalid:8333")
	client.Write(v1Message(mainnet, "version", version))
	now := e.until("a session", func(s proxy.Snapshot) bool { return s.Opened["v2"] == 1 })
	if now.Upstream.State != "reached" || now.Upstream.Reason != "" || now.Failing != nil {
		t.Errorf("got %+v, failing %+v", now.Upstream, now.Failing)
	}
	if back := e.logs.with("the upstream proxy is reached again", "INFO"); len(back) != 1 {
		t.Errorf("%d lines say that it is back, want 1", len(back))
	}
}

// The upstream proxy may also fail between the dial for v2 and the one for v1.
func TestUpstreamRefusesSecondDial(t *testing.T) {
	t.Parallel()
	const dest = "node.invalid:8333"
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}}})
	e.net.peer(dest, func(nc *net.TCPConn, dial int) {
		nc.Read(make([]byte, 8192))
		u.net.peer(dest, nil)
	})
	client := e.connect(dest)
	client.Write(v1Message(mainnet, "version", version))
	wantClosed(t, client)
	e.wantEnd(client, "refused", "")
	if n := u.net.dialled(dest); n != 2 {
		t.Errorf("dialled %d times", n)
	}
}

// All kinds of destinations go through the upstream proxy as the client named them, in all modes.
func TestUpstreamDestinations(t *testing.T) {
	t.Parallel()
	onion := strings.Repeat("a", 56) + ".onion:8333"
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "upstream")} {
		t.Run(network, func(t *testing.T) {
			u := newUpstream(t, network, address)
			e := u.startBehind(t, new(proxy.Server))
			for _, dest := range []string{onion, "NAME.I2P:8333", "node.invalid:8333", "192.0.2.7:8333", "[2001:db8::7]:8333", "127.0.0.1:8333"} {
				got := e.v2Recorder(dest)
				client := e.connect(dest)
				client.Write(v1Message(mainnet, "version", version))
				leave(t, client)
				receive(t, got, "the peer")
				wantAttrs(t, e.end(client), logLine{"msg": "session closed", "transport": "v2", "dest": dest})
				if all, want := u.requests(), []asked{{socks.CommandConnect, dest, "", ""}}; !slices.Equal(all, want) {
					t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
				}
			}

			got := e.v2Recorder("192.0.2.8:8333")
			client := e.dial()
			client.Write(v1Message(mainnet, "version", versionTo("192.0.2.8", 8333)))
			leave(t, client)
			receive(t, got, "the peer")
			e.end(client)
			got = e.v2Recorder("static.invalid:8333")
			client = e.dialTo(e.servePeer("static.invalid:8333"))
			client.Write(v1Message(mainnet, "version", version))
			leave(t, client)
			receive(t, got, "the peer")
			e.end(client)
			want := []asked{{socks.CommandConnect, "192.0.2.8:8333", "", ""}, {socks.CommandConnect, "static.invalid:8333", "", ""}}
			if all := u.requests(); !slices.Equal(all, want) {
				t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
			}
		})
	}
}

// The credentials for this proxy are not sent to the upstream proxy.
func TestUpstreamNeverGetsOurPassword(t *testing.T) {
	t.Parallel()
	const dest = "node.invalid:8333"
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Auth: &socks.Credentials{Username: "ours", Password: "secret"}}}})
	e.net.peer(dest, echo)
	client := e.dial()
	if code, err := askAs(client, "ours", "secret", dest); code != 0 || err != nil {
		t.Errorf("reply %d, %v", code, err)
	}
	hangUp(client)
	client.Close()
	e.end(client)
	if all, want := u.requests(), []asked{{socks.CommandConnect, dest, "", ""}}; !slices.Equal(all, want) {
		t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
	}
	if text := e.logs.text(); strings.Contains(text, "secret") || strings.Contains(text, "ours") {
		t.Errorf("the password is in the log:\n%s", text)
	}
}

// A proxy that is its own upstream would connect to itself until resources run out.
func TestUpstreamItself(t *testing.T) {
	t.Parallel()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "own")} {
		for name, request := range map[string][]byte{"CONNECT": request(1, "node.invalid:8333"), "RESOLVE": resolveName("node.invalid")} {
			t.Run(network+"/"+name, func(t *testing.T) {
				l, err := net.Listen(network, address)
				if err != nil {
					t.Fatal(err)
				}
				u := &socks.Upstream{Network: network, Address: l.Addr().String(), Timeout: time.Second}
				e := start(t, &proxy.Server{Policy: proxy.Policy{Upstream: u}})
				served := make(chan error, 1)
				go func() { served <- e.server.Serve(l) }()
				t.Cleanup(func() {
					e.server.Close()
					receive(t, served, "Serve to return")
				})
				// an answer shows that it listens
				if nc, err := net.Dial(network, u.Address); err == nil {
					nc.SetDeadline(time.Now().Add(patience))
					nc.Write([]byte{5, 1, 0})
					nc.Read(make([]byte, 2))
					nc.Close()
				}
				client := e.dial()
				want := []byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0}
				if got := askResolve(t, client, request); !bytes.Equal(got, want) {
					t.Errorf("answer % x, want % x", got, want)
				}
				client.Close()
				e.wantEnd(client, "refused", "the upstream proxy is the proxy itself")
				if n := strings.Count(e.logs.text(), `"reason":"the upstream proxy is the proxy itself"`); n != 1 {
					t.Errorf("%d sessions for one client, want 1", n)
				}
			})
		}
	}
}

// A socket may have several paths.
func TestUpstreamItselfByALink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own")
	link := path + "-link"
	l, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Skipf("not run: %v", err)
	}
	e := startDirect(t, &proxy.Server{MaxSessions: 20, Policy: proxy.Policy{Upstream: &socks.Upstream{Network: "unix", Address: link, Timeout: time.Second}}})
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(l) }()
	t.Cleanup(func() {
		e.server.Close()
		receive(t, served, "Serve to return")
	})
	e.until("both listeners", func(s proxy.Snapshot) bool { return len(s.Listeners) == 2 })
	client := e.dial()
	if code, err := ask(client, "node.example:8333"); code != 2 || err != nil {
		t.Errorf("reply %d, %v, want 2", code, err)
	}
	e.wantEnd(client, "refused", "the upstream proxy is the proxy itself")
	if n := strings.Count(e.logs.text(), "session refused"); n != 1 {
		t.Errorf("%d sessions for one client, want 1", n)
	}
}

// A slow look-up of the upstream proxy's name does not keep a session from ending.
func TestUpstreamNameIsSlow(t *testing.T) {
	old := net.DefaultResolver
	asked := make(chan struct{}, 100)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	t.Cleanup(func() { net.DefaultResolver = old })
	e := startDirect(t, &proxy.Server{Policy: proxy.Policy{Upstream: &socks.Upstream{Network: "tcp", Address: "upstream.invalid:9050"}}})
	client := e.dial()
	client.Write(append([]byte{5, 1, 0}, request(1, "node.example:8333")...))
	receive(t, asked, "the lookup")
	e.server.Close()
	e.wantEnd(client, "refused", "the proxy is stopping")
}
