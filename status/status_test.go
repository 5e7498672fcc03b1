package status

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"bip324proxy/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves s on l until the test, or the bubble, ends it.
func serve(t *testing.T, s *Server, l net.Listener) (stop func()) {
	t.Helper()
	s.Snapshot, s.Log = idle, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// Serve answers on a real listener, and leaves nothing behind.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, new(Server), l)
	client := &http.Client{Transport: new(http.Transport)}
	for path, want := range map[string]int{"/healthz": 200, "/api/status": 200, "/metrics": 200, "/": 200, "/nothing": 404} {
		r, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, r.StatusCode, want)
		}
	}
	stop() // the client's connection is still open
	client.CloseIdleConnections()
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener still accepts connections")
	}
}

// If the listener fails, Serve returns its error.
func TestServeFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := (&Server{Snapshot: idle}).Serve(t.Context(), l); err == nil {
		t.Error("got no error")
	}
}

// endedListener fails because it is closed, and the context has just ended.
type endedListener struct {
	net.Listener
	end context.CancelFunc
}

func (l endedListener) Accept() (net.Conn, error) {
	l.end()
	return nil, net.ErrClosed
}

// If the listener was closed because the context has ended, that is no failure.
func TestServeListenerClosedFirst(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := (&Server{Snapshot: idle}).Serve(ctx, endedListener{l, cancel}); err != nil {
			t.Fatal(err)
		}
	}
}

// Invalid requests, which Go's server answers itself, get only an error.
func TestNotHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer serve(t, new(Server), l)()
	for says, want := range map[string]string{
		"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n":                  "HTTP/1.1 405 ",
		"GET / HTTP/1.1\r\nConnection: close\r\n\r\n":                                         "HTTP/1.1 400 ",
		"GET / HTTP/1.0\r\n\r\n":                                                              "HTTP/1.0 403 ",
		"GET /healthz HTTP/1.0\r\n\r\n":                                                       "HTTP/1.0 200 ",
		"OPTIONS /readyz HTTP/1.0\r\n\r\n":                                                    "HTTP/1.0 200 ",
		"HEAD /healthz HTTP/1.1\r\nHost: bip324-proxy:1325\r\n\r\n":                           "HTTP/1.1 200 ",
		"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n":   "HTTP/1.1 403 ",
		"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n":                     "HTTP/1.1 400 ",
		"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n": "HTTP/1.1 431 ",
		"\x05\x01\x00": "HTTP/1.1 400 ",
		"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n":                 "HTTP/1.1 405 ",
		"POST /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n": "HTTP/1.1 405 ",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "HTTP/1.1 ",
	} {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(nc, says)
		nc.(*net.TCPConn).CloseWrite()
		line, _ := bufio.NewReader(nc).ReadString('\n')
		if !strings.HasPrefix(line, want) {
			t.Errorf("%.60q: got %q, want %q", says, line, want)
		}
		nc.Close()
	}
}

// pipes is a listener of in-memory connections, for use in a bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return loopback }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// Slow clients are disconnected at every stage.
func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		stop := serve(t, new(Server), l)
		for _, c := range []struct {
			says string
			read bool // the client reads the answer
			want time.Duration
		}{
			{"", false, 5 * time.Second},
			{"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX", false, 5 * time.Second},
			{"GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", false, 15 * time.Second},
			{"GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", true, 10 * time.Second},
		} {
			nc := l.dial()
			began := time.Now()
			io.WriteString(nc, c.says)
			if !c.read {
				time.Sleep(c.want + time.Millisecond)
				synctest.Wait()
				nc.SetReadDeadline(time.Now().Add(time.Millisecond))
			}
			_, err := io.Copy(io.Discard, nc)
			if took := time.Since(began).Round(time.Second); err != nil || took != c.want {
				t.Errorf("%q: want a disconnect after %v, got %v, %v", c.says, c.want, took, err)
			}
			nc.Close()
		}

		stop()
	})
}

// Held connections of any kind block neither the page nor the health checks.
func TestHeldConnections(t *testing.T) {
	const (
		refused = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"
		good    = "GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
		health  = "GET /healthz HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n"
	)
	for name, held := range map[string]struct {
		says string
		read bool // the client reads the answer
		late time.Duration
	}{
		"silent":         {"", false, 0},
		"half a request": {"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX", false, 0},
		"refused":        {refused, true, 0},
		"answered":       {"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", true, 0},
		"not reading":    {"GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", false, turnTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{make(chan net.Conn), make(chan struct{})}
				stop := serve(t, new(Server), l)
				var all []net.Conn
				for range 3 * MaxConns {
					nc := l.dial()
					all = append(all, nc)
					go func() {
						io.WriteString(nc, held.says)
						if held.read {
							io.Copy(io.Discard, nc)
						}
					}()
					synctest.Wait()
				}
				for _, c := range []struct {
					says, want string
					late       time.Duration
				}{{health, "ok\n", 0}, {good, "\n", held.late}} {
					nc := l.dial()
					began := time.Now()
					go io.WriteString(nc, c.says)
					b, _ := io.ReadAll(nc)
					if took := time.Since(began); !strings.HasPrefix(string(b), "HTTP/1.1 200") || !strings.HasSuffix(string(b), c.want) || took > c.late {
						t.Errorf("%q: got %d bytes, %.40q, after %v", c.says, len(b), b, took)
					}
					nc.Close()
				}
				for _, nc := range all {
					nc.Close()
				}
				stop()
			})
		})
	}
}

// Health checks are public and may be frequent: they do not take a snapshot of all sessions.
func TestHealthTakesNoSnapshot(t *testing.T) {
	listeners, stopping, snapshots := 0, false, 0
	s := &Server{
		Token:     token,
		Snapshot:  func() proxy.Snapshot { snapshots++; return idle() },
		Accepting: func() (int, bool) { return listeners, stopping },
	}
	h := s.handler(public, new(recent), newConns(nil))
	snapshots = 0
	for _, c := range []struct {
		listeners int
		stopping  bool
		says      string
	}{{0, false, "not listening\n"}, {2, false, "ok\n"}, {2, true, "stopping\n"}} {
		listeners, stopping = c.listeners, c.stopping
		for path, says := range map[string]string{"/readyz": c.says, "/healthz": "ok\n", "/api/status": "unauthorized"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "http://192.0.2.1:1325"+path, nil))
			if got := w.Body.String(); !strings.HasPrefix(got, says) || snapshots > 0 {
				t.Errorf("%s of %+v: got %q after %d snapshots", path, c, got, snapshots)
			}
		}
	}
}
