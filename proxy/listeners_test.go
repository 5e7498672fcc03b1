package proxy_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/proxy"
)

func TestTwoListeners(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	e.net.peer("server.example:80", echo)
	for _, addr := range []string{e.addr, e.serveAnother()} {
		client := e.dialTo(addr)
		if code, err := ask(client, "server.example:80"); code != 0 || err != nil {
			t.Errorf("reply %d, %v", code, err)
		}
		hangUp(client)
		client.Close()
		e.wantEnd(client, "refused", "the client closed the connection before the session was open")
	}
	if err := e.server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// If other code closes a listener, its Serve returns and the server goes on.
func TestListenerClosed(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := e.server.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
	e.net.peer("server.example:80", echo)
	client := e.connect("server.example:80")
	client.Close()
	e.end(client)
}

// exhaustedListener is out of descriptors for a number of calls.
type exhaustedListener struct {
	failures int
	times    []time.Time
	conns    chan net.Conn
}

func (l *exhaustedListener) Accept() (net.Conn, error) {
	l.times = append(l.times, time.Now())
	if len(l.times) <= l.failures {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}
	}
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *exhaustedListener) Close() error {
	defer func() { recover() }() // again
	close(l.conns)
	return nil
}

func (l *exhaustedListener) Addr() net.Addr { return &net.TCPAddr{} }

// Errors of Accept are retried after growing pauses of up to a second.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &exhaustedListener{failures: 12, conns: make(chan net.Conn)}
		s := &proxy.Server{Log: slog.New(slog.DiscardHandler)}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		client, conn := net.Pipe()
		l.conns <- conn
		client.Write([]byte{5, 1, 3}) // part of a greeting
		if _, err := io.ReadFull(client, make([]byte, 2)); err != nil {
			t.Error(err)
		}
		s.Shutdown(context.Background())
		if err := <-served; err != proxy.ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
		want := 5 * time.Millisecond
		for i := range l.failures {
			if pause := l.times[i+1].Sub(l.times[i]); pause != want {
				t.Errorf("pause %d is %v, want %v", i, pause, want)
			}
			want = min(2*want, time.Second)
		}
	})
}
