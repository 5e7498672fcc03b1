package proxy_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/proxy"
)

// snapshotLog takes a snapshot of the server with every line.
type snapshotLog struct {
	slog.Handler
	server *proxy.Server
}

func (l snapshotLog) Handle(ctx context.Context, r slog.Record) error {
	l.server.Snapshot()
	l.server.Accepting()
	return l.Handler.Handle(ctx, r)
}

// Nothing is logged with the server's lock held, or a slow log would stop everything.
func TestLogWithoutLocks(t *testing.T) {
	logs := newLogBook()
	s := &proxy.Server{MaxSessions: 1, ClientRate: 1}
	s.Log = slog.New(snapshotLog{slog.NewJSONHandler(logs, nil), s})
	l := &pipeListener{net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1324")), make(chan net.Conn), make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	for range 20 { // four evict others, the rest exceed the rate
		client, conn := net.Pipe()
		defer client.Close()
		l.conns <- addrConn{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.1:1"))}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Close()
	}()
	receive(t, done, "Close")
	receive(t, served, "Serve")
	for _, msg := range []string{"connection closed", "connection refused"} {
		if len(logs.with(msg, "WARN")) == 0 {
			t.Errorf("the log does not say %q: %v", msg, logs.all())
		}
	}
}

// A line about clients over a limit names the client only if all were the same.
func TestFoldedLinesName(t *testing.T) {
	for _, clients := range [][]string{{"203.0.113.1:1"}, {"203.0.113.1:1", "203.0.113.2:1", "[2001:db8::1]:1"}} {
		synctest.Test(t, func(t *testing.T) {
			logs := newLogBook()
			s := &proxy.Server{MaxSessions: 1, ClientRate: 2, Log: slog.New(slog.NewJSONHandler(logs, nil))}
			l := &pipeListener{net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1324")), make(chan net.Conn), make(chan struct{})}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			for range 30 {
				for _, from := range clients {
					client, conn := net.Pipe()
					defer client.Close()
					l.conns <- addrConn{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
					synctest.Wait()
				}
			}
			time.Sleep(2 * time.Minute)
			s.Close()
			<-served
			for _, msg := range []string{"connection closed", "connection refused"} {
				lines := logs.with(msg, "WARN")
				lines = slices.DeleteFunc(lines, func(l logLine) bool { return l["again"] == nil })
				if len(lines) != 1 {
					t.Fatalf("%s: got %v", msg, lines)
				}
				_, named := lines[0]["client"]
				switch n, counted := lines[0]["clients"].(float64); {
				case len(clients) == 1 && (lines[0]["client"] != "203.0.113.1" || counted):
					t.Errorf("one client: %v", lines[0])
				case len(clients) > 1 && (named || int(n) != len(clients)):
					t.Errorf("%d clients: %v", len(clients), lines[0])
				}
			}
		})
	}
}

// failingListener always fails with err.
type failingListener struct {
	pipeListener
	err error
}

func (l *failingListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: os.NewSyscallError("accept4", l.err)}
	}
}

// Two listeners that fail each have their own lines: at once, after a minute and at the end.
func TestFailingListenersAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := newLogBook()
		s := &proxy.Server{Log: slog.New(slog.NewJSONHandler(logs, nil))}
		served := make(chan error, 2)
		for _, addr := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
			l := &failingListener{pipeListener{net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)), nil, make(chan struct{})}, syscall.EMFILE}
			go func() { served <- s.Serve(l) }()
		}
		time.Sleep(90 * time.Second)
		s.Close()
		<-served
		<-served
		count := map[any]int{}
		for _, line := range logs.with("cannot accept a connection; trying again", "ERROR") {
			count[line["listener"]]++
		}
		if count["127.0.0.1:1"] != 3 || count["127.0.0.1:2"] != 3 {
			t.Errorf("%v", logs.all())
		}
	})
}
