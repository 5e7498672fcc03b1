//go:build unix

package proxy_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
)

// A session over a unix socket is like any other.
func TestSessionOverUnix(t *testing.T) {
	t.Parallel()
	e := start(t, new(proxy.Server))
	path := filepath.Join(t.TempDir(), "socket")
	l, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(l) }()
	const dest = "node.example:8333"
	got := e.v2Recorder(dest)
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	client.SetDeadline(time.Now().Add(patience))
	if code, err := ask(client, dest); code != 0 || err != nil {
		t.Errorf("reply %d, %v", code, err)
	}
	client.Write(v1Message(mainnet, "version", version))
	if name, _, err := readV1(client); name != "verack" || err != nil {
		t.Errorf("the peer sent %q, %v", name, err)
	}
	client.(*net.UnixConn).CloseWrite()
	wantClosed(t, client)
	client.Close()
	if all := receive(t, got, "the peer"); len(all) != 1 || all[0] != longContents("version", version) {
		t.Errorf("the peer received %q", all)
	}
	if err := e.server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := receive(t, served, "Serve"); err != proxy.ErrServerClosed {
		t.Error(err)
	}
	if text := e.logs.text(); !strings.Contains(text, `"transport":"v2","reason":"the client closed the connection"`) {
		t.Errorf("the log says\n%s", text)
	}
}

// A permanent error of Accept ends Serve at once.
func TestListenerOver(t *testing.T) {
	t.Parallel()
	over := []error{syscall.EBADF, syscall.ENOTSOCK, syscall.EOPNOTSUPP}
	if runtime.GOOS == "linux" {
		over = append(over, syscall.EINVAL)
	}
	for _, cause := range slices.Concat(over, []error{syscall.EMFILE}) {
		e := start(t, &proxy.Server{})
		l := &failingListener{pipeListener{&net.TCPAddr{}, nil, make(chan struct{})}, cause}
		served := make(chan error, 1)
		go func() { served <- e.server.Serve(l) }()
		if slices.Contains(over, cause) {
			if err := receive(t, served, "Serve to end"); !errors.Is(err, cause) {
				t.Errorf("%v: Serve returned %v", cause, err)
			}
			if len(e.logs.all()) > 0 {
				t.Errorf("%v: the log says %v", cause, e.logs.all())
			}
			continue
		}
		select {
		case err := <-served:
			t.Errorf("%v: Serve returned %v", cause, err)
		case <-time.After(50 * time.Millisecond):
		}
		e.server.Close()
		receive(t, served, "Serve to end")
	}
}

// Of its listeners a snapshot names those for SOCKS, as a client's setting has them.
func TestSOCKSListeners(t *testing.T) {
	t.Parallel()
	e := start(t, new(proxy.Server))
	path := filepath.Join(t.TempDir(), "socket")
	for _, spec := range []string{"unix:" + path, "127.0.0.1:0"} {
		l, err := listen.Open(spec)
		if err != nil {
			t.Fatal(err)
		}
		peer := ""
		if spec == "127.0.0.1:0" {
			peer = "node.example:8333"
		}
		served := make(chan error, 1)
		go func() { served <- e.server.ServePeer(l, peer) }()
		t.Cleanup(func() { e.server.Close(); <-served })
	}
	e.until("the listeners", func(s proxy.Snapshot) bool { return len(s.Listeners) == 3 })
	if got, want := e.server.Snapshot().SOCKS, []string{e.addr, "unix:" + path}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
