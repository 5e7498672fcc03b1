package socks

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/errno"

	"github.com/armon/go-socks5"
)

// upstreamAt listens and calls serve with each connection, which it closes afterwards.
func upstreamAt(t *testing.T, network, address string, serve func(net.Conn)) *Upstream {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				serve(conn)
			}()
		}
	}()
	return &Upstream{Network: network, Address: l.Addr().String()}
}

// wantEcho sends text and expects the same back.
func wantEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	text := []byte("through the upstream proxy")
	if _, err := conn.Write(text); err != nil {
		t.Error(err)
	}
	echo := make([]byte, len(text))
	if _, err := io.ReadFull(conn, echo); err != nil || !bytes.Equal(echo, text) {
		t.Errorf("echo %q, %v", echo, err)
	}
}

// noLookup is a resolver that knows at most one name.
type noLookup struct {
	name string
	ip   net.IP
}

func (n noLookup) Resolve(ctx context.Context, name string) (context.Context, net.IP, error) {
	if ip := net.ParseIP(name); ip != nil {
		return ctx, ip, nil
	}
	if name != n.name {
		return ctx, nil, errors.New("no such host")
	}
	return ctx, n.ip, nil
}

// parsed returns the result of ParseAddr.
func parsed(t *testing.T, dest string) Addr {
	t.Helper()
	a, err := ParseAddr(dest)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// An independent server and this client agree on the destination, the credentials and the refusal.
func TestUpstreamDialArmon(t *testing.T) {
	echo := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(conn, conn) })
	for _, pair := range []Credentials{{}, {"u", "p"}, {strings.Repeat("u", 255), strings.Repeat("p", 255)}} {
		for dest, dialled := range map[string]string{
			"1.2.3.4:8333":       "1.2.3.4:8333",
			"[2001:db8::1]:8333": "[2001:db8::1]:8333",
			"node.example:8333":  "192.0.2.7:8333",
		} {
			asked := make(chan string, 1)
			cfg := &socks5.Config{
				Resolver: noLookup{"node.example", net.IPv4(192, 0, 2, 7)},
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					asked <- addr
					return new(net.Dialer).DialContext(ctx, network, echo.Address)
				},
				Logger: log.New(io.Discard, "", 0),
			}
			if !pair.isZero() {
				cfg.Credentials = socks5.StaticCredentials{pair.Username: pair.Password}
			}
			server, err := socks5.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { server.ServeConn(conn) })
			conn, err := up.Dial(t.Context(), parsed(t, dest), pair)
			if err != nil {
				t.Errorf("%s: got %v", dest, err)
				continue
			}
			wantEcho(t, conn)
			conn.Close()
			if got := <-asked; got != dialled {
				t.Errorf("%s: the server dialled %s, want %s", dest, got, dialled)
			}
		}
	}
}

func TestUpstreamRefusedArmon(t *testing.T) {
	server, err := socks5.New(&socks5.Config{
		Resolver:    noLookup{},
		Credentials: socks5.StaticCredentials{"u": "p"},
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			return nil, map[string]error{"1.2.3.4:1": syscall.ECONNREFUSED, "1.2.3.4:2": syscall.ENETUNREACH}[addr]
		},
		Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { server.ServeConn(conn) })
	right, wrong := Credentials{"u", "p"}, Credentials{"u", "x"}
	for _, tt := range []struct {
		dest  string
		pair  Credentials
		code  ReplyCode
		reply ReplyCode
		stage Stage
	}{
		{"1.2.3.4:1", right, ConnectionRefused, ConnectionRefused, StageRequest},
		{"node.example:1", right, HostUnreachable, HostUnreachable, StageRequest},
		{"1.2.3.4:1", wrong, Succeeded, GeneralFailure, StageAuth},
		{"1.2.3.4:1", Credentials{}, Succeeded, GeneralFailure, StageGreeting},
	} {
		conn, err := up.Dial(t.Context(), parsed(t, tt.dest), tt.pair)
		var uerr *UpstreamError
		if conn != nil || !errors.As(err, &uerr) || uerr.Code != tt.code || uerr.Stage != tt.stage || uerr.Upstream != up.Address {
			t.Errorf("%s: got %v", tt.dest, err)
		}
		if got := CodeOf(fmt.Errorf("dial: %w", err)); got != tt.reply {
			t.Errorf("%s: reply to the client %v, want %v", tt.dest, got, tt.reply)
		}
	}
	if _, err := up.Resolve(t.Context(), addr("node.example", 0), right); CodeOf(err) != HostUnreachable {
		t.Errorf("RESOLVE of a name that the server looks up itself: %v", err)
	}
	if _, err := up.Resolve(t.Context(), addr("1.2.3.4", 0), right); CodeOf(err) != CommandNotSupported {
		t.Errorf("RESOLVE: %v", err)
	}
}

// The upstream proxy gets the URL's credentials, otherwise the client's. It is this package's
// server, over TCP and over a unix socket.
func TestUpstreamCredentials(t *testing.T) {
	none, fromURL := Credentials{}, Credentials{"url", "from the url"}
	requests := make(chan *Request, 1)
	serve := func(conn net.Conn) {
		r := bufio.NewReader(conn)
		req, err := Config{}.Negotiate(conn, r)
		requests <- req
		if err == nil && answer(req) == nil && req.Command == CommandConnect {
			io.Copy(conn, r)
		}
	}
	ups := []*Upstream{
		upstreamAt(t, "tcp", "127.0.0.1:0", serve),
		upstreamAt(t, "unix", filepath.Join(t.TempDir(), "s"), serve),
	}
	for _, up := range ups {
		for _, tt := range []struct {
			url          *Credentials
			client, want Credentials
		}{
			{nil, none, none},
			{nil, Credentials{"a", "1"}, Credentials{"a", "1"}},
			{nil, Credentials{"a", ""}, Credentials{"a", ""}},
			{nil, Credentials{"", "1"}, Credentials{"", "1"}},
			{&fromURL, none, fromURL},
			{&fromURL, Credentials{"a", "1"}, fromURL},
			{&fromURL, Credentials{"a", ""}, fromURL}, // not mixed
			{&fromURL, Credentials{"", "1"}, fromURL},
			{&none, none, none},
			{&none, Credentials{"a", "1"}, Credentials{"a", "1"}},
		} {
			up.Credentials = tt.url
			for range 2 { // a second dial gets the same
				conn, err := up.Dial(t.Context(), addr("node.example", 8333), tt.client)
				req := <-requests
				if err != nil {
					t.Fatal(err)
				}
				wantEcho(t, conn)
				conn.Close()
				if req.Credentials != tt.want || req.Dest != addr("node.example", 8333) {
					t.Errorf("%s: got %v with %q, want %q", up, req, req.Credentials.Username, tt.want.Username)
				}
			}
			ip, err := up.Resolve(t.Context(), addr("node.example", 0), tt.client)
			req := <-requests
			if err != nil || ip != lookedUp || req.Command != CommandResolve || req.Credentials != tt.want {
				t.Errorf("%s: %v: got %v, %v", up, req, ip, err)
			}
		}
	}
}

// Distinct credentials stay distinct.
func TestUpstreamIsolation(t *testing.T) {
	const clients = 100
	seen := make(chan Credentials, clients)
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		if req, err := (Config{}).Negotiate(conn, bufio.NewReader(conn)); err == nil {
			seen <- req.Credentials
			req.Reply(Succeeded)
		}
	})
	in, out := map[Credentials]bool{}, map[Credentials]bool{}
	for i := range clients {
		pair := Credentials{fmt.Sprintf("prefix-%d", i), fmt.Sprintf("prefix-%d", i)}
		conn, err := up.Dial(t.Context(), addr("host", 1), pair)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		in[pair], out[<-seen] = true, true
	}
	for pair := range in {
		if !out[pair] {
			t.Errorf("%q did not arrive", pair.Username)
		}
	}
	if len(out) != clients {
		t.Errorf("%d distinct credentials arrived, want %d", len(out), clients)
	}
}

// Every failure closes the connection.
func TestUpstreamCloses(t *testing.T) {
	answers := unhex("0502 0100 0500 0001 00000000 0000")
	for cut := range answers {
		for name, then := range map[string]func(net.Conn, context.CancelFunc){
			"cancel":  func(_ net.Conn, cancel context.CancelFunc) { cancel() },
			"garbage": func(c net.Conn, _ context.CancelFunc) { c.Write(bytes.Repeat([]byte{0xEE}, 300)) },
		} {
			if name == "garbage" && cut >= len(answers)-6 {
				continue // any address would be valid
			}
			ctx, cancel := context.WithCancel(t.Context())
			closed := make(chan error, 1)
			up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
				conn.Write(answers[:cut])
				then(conn, cancel)
				_, err := io.Copy(io.Discard, conn)
				closed <- err
			})
			conn, err := up.Dial(ctx, addr("host", 1), Credentials{"u", "p"})
			if conn != nil || err == nil || name == "cancel" && !errors.Is(err, context.Canceled) {
				t.Errorf("%s after %d bytes: got %v, %v", name, cut, conn, err)
			}
			var timeout net.Error
			if err := <-closed; errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("%s after %d bytes: the connection stays open", name, cut)
			}
			cancel()
		}
	}
}

// An unreachable upstream proxy is not the destination's fault.
func TestUpstreamUnreachable(t *testing.T) {
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	closed := &Upstream{Network: "tcp", Address: l.Addr().String()}
	absent := &Upstream{Network: "unix", Address: filepath.Join(t.TempDir(), "absent")}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, tt := range []struct {
		name string
		up   *Upstream
		ctx  context.Context
		is   error
	}{
		{"nobody listens", closed, t.Context(), errno.ECONNREFUSED},
		{"no socket", absent, t.Context(), nil},
		{"cancelled", up, cancelled, context.Canceled},
		{"expired", up, expired, context.DeadlineExceeded},
	} {
		conn, err := tt.up.Dial(tt.ctx, addr("host", 1), Credentials{"user", "password"})
		var uerr *UpstreamError
		if conn != nil || !errors.As(err, &uerr) || uerr.Stage != StageDial || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v, %v", tt.name, conn, err)
			continue
		}
		if got := CodeOf(err); got != GeneralFailure {
			t.Errorf("%s: reply to the client %v", tt.name, got)
		}
		if text := err.Error(); !strings.HasPrefix(text, "cannot reach the upstream proxy at "+tt.up.Address+": ") || strings.Count(text, tt.up.Address) != 1 {
			t.Errorf("%s: got %q", tt.name, text)
		}
		if ip, err := tt.up.Resolve(tt.ctx, addr("host", 0), Credentials{}); ip != (netip.Addr{}) || CodeOf(err) != GeneralFailure {
			t.Errorf("%s: RESOLVE: got %v, %v", tt.name, ip, err)
		}
	}
}

// For invalid destinations no connection is made.
func TestUpstreamBadDest(t *testing.T) {
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(net.Conn) { t.Error("got a connection, want none") })
	for _, host := range []string{"", "a b", strings.Repeat("x", 256), "a\x00", "fe80::1%lo", "2001:db8::1%lo"} {
		if conn, err := up.Dial(t.Context(), Addr{Host: host, Port: 1}, Credentials{}); conn != nil || CodeOf(err) != GeneralFailure {
			t.Errorf("%q: got %v, %v", host, conn, err)
		}
		if ip, err := up.Resolve(t.Context(), Addr{Host: host}, Credentials{}); ip.IsValid() || CodeOf(err) != GeneralFailure {
			t.Errorf("%q: RESOLVE: got %v, %v", host, ip, err)
		}
	}
	for _, dest := range []string{"[fe80::1%lo]:1", "[fe80::5efe:10.0.0.1%1]:1"} { // the proxy cannot know this machine's zones
		if conn, err := up.Dial(t.Context(), parsed(t, dest), Credentials{}); conn != nil || !errors.As(err, new(*AddrError)) {
			t.Errorf("%s: got %v, %v", dest, conn, err)
		}
	}
}

// Resolve closes its connection.
func TestUpstreamResolveCloses(t *testing.T) {
	closed := make(chan error, 1)
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		r := bufio.NewReader(conn)
		req, err := Config{}.Negotiate(conn, r)
		if err == nil {
			err = req.ReplyAddr(lookedUp)
		}
		if err == nil {
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, err = io.Copy(io.Discard, r)
		}
		closed <- err
	})
	if ip, err := up.Resolve(t.Context(), addr("host", 0), Credentials{}); ip != lookedUp || err != nil {
		t.Errorf("got %v, %v", ip, err)
	}
	if err := <-closed; err != nil {
		t.Errorf("the connection stays open: %v", err)
	}
}

// Upstream.Timeout applies if the context has no deadline.
func TestUpstreamTimeout(t *testing.T) {
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(io.Discard, conn) })
	up.Timeout = time.Nanosecond
	if conn, err := up.Dial(t.Context(), addr("host", 1), Credentials{}); conn != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v", conn, err)
	}
}

// An established connection has no deadline and outlives its context.
func TestUpstreamOutlivesContext(t *testing.T) {
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if req, err := (Config{}).Negotiate(conn, r); err == nil && req.Reply(Succeeded) == nil {
			io.Copy(conn, r)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := up.Dial(ctx, addr("host", 1), Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	wantEcho(t, conn)
}
