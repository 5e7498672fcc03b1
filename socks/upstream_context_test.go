package socks

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"testing"

	"github.com/armon/go-socks5"
	"golang.org/x/net/proxy"
)

var _ proxy.ContextDialer = new(Upstream)

// DialContext asks an independent server for the address as it was given, names as names, without
// credentials; and for nothing that a net.Dialer would refuse, or whose family is uncertain.
func TestUpstreamDialContext(t *testing.T) {
	echo := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(conn, conn) })
	asked := make(chan string, 1)
	server, err := socks5.New(&socks5.Config{
		Resolver: noLookup{"peer.onion", net.IPv4(192, 0, 2, 7)},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			asked <- addr
			return new(net.Dialer).DialContext(ctx, network, echo.Address)
		},
		Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { server.ServeConn(conn) })
	for _, c := range []struct{ network, addr, asked string }{
		{"tcp", "peer.onion:8333", "192.0.2.7:8333"},
		{"tcp", "192.0.2.1:8333", "192.0.2.1:8333"},
		{"tcp", "[2001:db8::1]:8333", "[2001:db8::1]:8333"},
		{"tcp4", "192.0.2.1:8333", "192.0.2.1:8333"},
		{"tcp4", "[::ffff:192.0.2.1]:8333", "192.0.2.1:8333"},
		{"tcp6", "[2001:db8::1]:8333", "[2001:db8::1]:8333"},
		{"tcp4", "[2001:db8::1]:8333", ""},
		{"tcp6", "192.0.2.1:8333", ""},
		{"tcp4", "peer.onion:8333", ""},
		{"tcp6", "peer.onion:8333", ""},
		{"udp", "192.0.2.1:8333", ""},
		{"unix", "/run/peer", ""},
		{"tcp", "192.0.2.1", ""},
		{"tcp", "192.0.2.1:0", ""},
		{"tcp", ":8333", ""},
	} {
		conn, err := up.DialContext(t.Context(), c.network, c.addr)
		if c.asked == "" {
			unknown := errors.As(err, new(net.UnknownNetworkError))
			if conn != nil || !errors.As(err, new(*net.OpError)) || unknown != (c.network == "udp" || c.network == "unix") || len(asked) > 0 {
				t.Errorf("%s %s: got %v, %v", c.network, c.addr, conn, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s: %v", c.network, c.addr, err)
			continue
		}
		wantEcho(t, conn)
		conn.Close()
		if got := <-asked; got != c.asked {
			t.Errorf("%s %s: the proxy was asked for %s, want %s", c.network, c.addr, got, c.asked)
		}
	}
}

// given is a credential store that accepts all, and keeps what was given.
type given struct {
	mu  sync.Mutex
	all []Credentials
}

func (g *given) Valid(user, password string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, Credentials{user, password})
	return true
}

// With Isolate, an independent server is given other credentials for each connection, unless there
// are Credentials. A server without authentication is an error: it would not isolate.
func TestUpstreamIsolate(t *testing.T) {
	echo := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(conn, conn) })
	got := new(given)
	serve := func(methods ...socks5.Authenticator) *Upstream {
		server, err := socks5.New(&socks5.Config{AuthMethods: methods, Logger: log.New(io.Discard, "", 0)})
		if err != nil {
			t.Fatal(err)
		}
		return upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { server.ServeConn(conn) })
	}
	up := serve(socks5.UserPassAuthenticator{Credentials: got}, socks5.NoAuthAuthenticator{})
	dial := func() {
		t.Helper()
		conn, err := up.DialContext(t.Context(), "tcp", echo.Address)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, conn)
		conn.Close()
	}
	dial()
	if len(got.all) != 0 {
		t.Errorf("without Isolate the server was given %v", got.all)
	}
	up.Isolate = true
	dial()
	dial()
	if len(got.all) != 2 || got.all[0].Username == got.all[1].Username || got.all[0].Password == got.all[1].Password {
		t.Errorf("the server was given %v", got.all)
	}
	own := Credentials{"alice", "secret"}
	up.Credentials = &own
	dial()
	if len(got.all) != 3 || got.all[2] != own {
		t.Errorf("with Credentials the server was given %v", got.all)
	}

	none := serve()
	none.Isolate = true
	if conn, err := none.DialContext(t.Context(), "tcp", echo.Address); conn != nil || !errors.Is(err, ErrCredentialsUnsupported) {
		t.Errorf("without authentication: got %v, %v", conn, err)
	}
}

// Cause has the words of a reply, or of what happened instead.
func TestUpstreamErrorCause(t *testing.T) {
	for want, e := range map[string]*UpstreamError{
		"connection refused":        {Stage: StageRequest, Code: ConnectionRefused},
		"the connection was closed": {Stage: StageGreeting, Err: io.EOF},
	} {
		if got := e.Cause(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
