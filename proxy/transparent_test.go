package proxy_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/transparent"
	"bip324proxy/proxy"
)

// serveTransparent adds a transparent listener. Without rules nothing is redirected to it.
func (e *env) serveTransparent() (addr string) {
	e.t.Helper()
	if err := transparent.Supported(); err != nil {
		e.t.Skip(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.server.ServeTransparent(l) }()
	e.t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// A client that was not redirected is refused with a reset, unless it only looks whether the port
// is open.
func TestClientNotRedirected(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	addr := e.serveTransparent()

	client := e.dialTo(addr)
	client.Close()
	e.wantEnd(client, "refused", "the client only looked whether the port is open")

	client = e.dialTo(addr)
	io.WriteString(client, "\x05\x01\x00")
	client.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) || len(b) > 0 {
		t.Errorf("got %q, %v; want a reset", b, err)
	}
	e.wantEnd(client, "refused", "the connection was not redirected: the client connected to the transparent listener itself, which cannot know its destination")
	now := e.server.Snapshot()
	if !slices.Equal(now.Transparent, []string{addr}) || slices.Contains(now.SOCKS, addr) {
		t.Errorf("transparent listeners %v, SOCKS %v; want %s among the first only", now.Transparent, now.SOCKS, addr)
	}
	refused := now.Refused
	total := uint64(0)
	for _, n := range refused {
		total += n
	}
	if refused[proxy.KindNotRedirected] != 1 || total != 1 {
		t.Errorf("got %v, want one refusal", refused)
	}
}

// Another listener than a TCP one has no redirected clients.
func TestTransparentUnixSocket(t *testing.T) {
	t.Parallel()
	if err := transparent.Supported(); err != nil {
		t.Skip(err)
	}
	e := start(t, &proxy.Server{})
	l, err := net.Listen("unix", t.TempDir()+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.server.ServeTransparent(l) }()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(client); len(b) > 0 || err != nil {
		t.Errorf("got %q, %v; want the end", b, err)
	}
	l.Close()
	<-ended
}
