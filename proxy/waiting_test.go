package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/socks"
)

// bubbleListener is a listener at addr that works in a synctest bubble; the test chooses its
// clients' addresses.
type bubbleListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newBubbleListener(addr string) *bubbleListener {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		panic(err)
	}
	return &bubbleListener{addr: tcp, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *bubbleListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *bubbleListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *bubbleListener) Addr() net.Addr { return l.addr }

// dial connects from the address.
func (l *bubbleListener) dial(from string) net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- &fromAddr{theirs, &net.TCPAddr{IP: net.ParseIP(from), Port: 40000}}
	return ours
}

type fromAddr struct {
	net.Conn
	remote net.Addr
}

func (c *fromAddr) RemoteAddr() net.Addr { return c.remote }

// startBubble serves the listeners with a password, in a bubble, until stop is called.
func startBubble(server *proxy.Server, listeners ...*bubbleListener) (stop func()) {
	server.Log = slog.New(slog.DiscardHandler)
	server.Socks.Auth = &socks.Credentials{Username: "user", Password: "pass"}
	server.Dialer.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go io.Copy(theirs, theirs)
		return ours, nil
	}
	for _, l := range listeners {
		go server.Serve(l)
	}
	synctest.Wait()
	return func() { server.Close(); synctest.Wait() }
}

// logIn connects a client with the password and returns the reply's code.
func logIn(nc net.Conn) (code byte, err error) {
	return askAs(nc, "user", "pass", "node.example:8333")
}

// isOpen reports whether the other side has kept nc open.
func isOpen(nc net.Conn) bool {
	nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := nc.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

func countOpen(all []net.Conn) (n int) {
	for _, nc := range all {
		if isOpen(nc) {
			n++
		}
	}
	return n
}

// A remote client has five seconds for authentication and request, however slowly it sends; a local
// client has more.
func TestUnauthenticatedTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		listener, client string
		says             []string // one per second
		want             time.Duration
	}{
		"silent":             {"0.0.0.0:1324", "192.0.2.1", nil, 5 * time.Second},
		"a byte a second":    {"0.0.0.0:1324", "192.0.2.1", []string{"\x05", "\x04", "\x01", "\x01", "\x01", "\x01", "\x02"}, 5 * time.Second},
		"late":               {"0.0.0.0:1324", "192.0.2.1", []string{"", "", "\x05\x01\x02", "\x01\x04user", "", "\x04pass"}, 5 * time.Second},
		"with the password":  {"0.0.0.0:1324", "192.0.2.1", []string{"\x05\x01\x02\x01\x04user\x04pass", "\x05"}, 5 * time.Second},
		"v1":                 {"0.0.0.0:1324", "192.0.2.1", []string{"\xf9\xbe\xb4\xd9vers"}, 5 * time.Second},
		"silent on loopback": {"127.0.0.1:1324", "127.0.0.1", nil, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newBubbleListener(c.listener)
				defer startBubble(new(proxy.Server), l)()
				nc := l.dial(c.client)
				began := time.Now()
				var talking sync.WaitGroup
				talking.Go(func() {
					for _, s := range c.says {
						io.WriteString(nc, s)
						time.Sleep(time.Second)
					}
				})
				io.Copy(io.Discard, nc)
				if took := time.Since(began).Round(100 * time.Millisecond); took < c.want || took > c.want+time.Second {
					t.Errorf("closed after %v, want %v", took, c.want)
				}
				nc.Close()
				talking.Wait()
			})
		})
	}
}

// Unauthenticated clients are limited to a few connections per address and, in total, to a share of
// the sessions; the limits do not affect other clients.
func TestUnauthenticatedShare(t *testing.T) {
	const sessions = 160 // a quarter is 40
	v4 := func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) }
	for name, c := range map[string]struct {
		clients int
		from    func(i int) string
		want    int // open connections
		kind    string
	}{
		"one address":         {60, func(int) string { return "192.0.2.1" }, 32, "client_rate"},
		"one IPv6 network":    {60, func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, 32, "client_rate"},
		"four addresses":      {60, func(i int) string { return v4(i % 4) }, 40, "too_many_sessions"},
		"as many as there be": {200, v4, 40, "too_many_sessions"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				public, local := newBubbleListener("0.0.0.0:1324"), newBubbleListener("127.0.0.1:1324")
				server := &proxy.Server{MaxSessions: sessions}
				defer startBubble(server, public, local)()
				var all []net.Conn
				for i := range c.clients {
					all = append(all, public.dial(c.from(i)))
					if i%10 == 5 { // in between
						good := public.dial("198.51.100.1")
						if code, err := logIn(good); code != 0 || err != nil {
							t.Errorf("after %d clients an authenticated one: reply %d, %v", i+1, code, err)
						}
						good.Close()
					}
				}
				synctest.Wait()
				if n := countOpen(all); n != c.want {
					t.Errorf("%d of %d connections are open, want %d", n, len(all), c.want)
				}
				if n := server.Snapshot().Refused[c.kind]; n == 0 {
					t.Errorf("no refusal counted as %s", c.kind)
				}
				for range sessions - c.want - 1 {
					good := local.dial("127.0.0.1")
					defer good.Close()
					if code, err := logIn(good); code != 0 || err != nil {
						t.Fatalf("an authenticated client on loopback: reply %d, %v", code, err)
					}
				}
				for _, nc := range all {
					nc.Close()
				}
			})
		})
	}
}

// Programs behind one address that connect at the same time are all admitted.
func TestUnauthenticatedBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubbleListener("0.0.0.0:1324")
		defer startBubble(&proxy.Server{MaxSessions: 200}, l)()
		var all []net.Conn
		for range 30 {
			all = append(all, l.dial("192.0.2.1"))
		}
		synctest.Wait()
		for i, nc := range all {
			if code, err := logIn(nc); code != 0 || err != nil {
				t.Errorf("client %d of %d: reply %d, %v", i+1, len(all), code, err)
			}
			nc.Close()
		}
	})
}

// Of the unauthenticated clients, those of the networks with the most connections are evicted
// first.
func TestUnauthenticatedFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubbleListener("0.0.0.0:1324")
		defer startBubble(&proxy.Server{MaxSessions: 100}, l)()
		slow := l.dial("198.51.100.1")
		defer slow.Close()
		for i := range 80 {
			defer l.dial(fmt.Sprintf("192.0.2.%d", i%8)).Close()
		}
		synctest.Wait()
		if code, err := logIn(slow); code != 0 || err != nil {
			t.Errorf("the only client of its network: reply %d, %v", code, err)
		}
	})
}

// When the session limit is reached, unauthenticated clients are evicted; and remote authenticated
// clients leave some sessions to local ones.
func TestLocalClientsHavePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		public, local := newBubbleListener("0.0.0.0:1324"), newBubbleListener("127.0.0.1:1324")
		defer startBubble(&proxy.Server{MaxSessions: 16}, public, local)()
		in := func(l *bubbleListener, from string) bool {
			nc := l.dial(from)
			t.Cleanup(func() { nc.Close() })
			code, err := logIn(nc)
			return code == 0 && err == nil
		}
		for i := range 8 { // half of 16
			defer public.dial(fmt.Sprintf("192.0.2.%d", i)).Close()
		}
		n := 0
		for range 20 {
			if !in(public, "198.51.100.1") {
				break
			}
			n++
		}
		if n != 14 {
			t.Errorf("%d remote clients admitted, want 14", n)
		}
		for i := range 2 {
			if !in(local, "127.0.0.1") {
				t.Errorf("local client %d was refused", i)
			}
		}
		if in(local, "127.0.0.1") {
			t.Error("a client over the session limit was admitted")
		}
	})
}
