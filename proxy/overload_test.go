package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/hints"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
)

// with returns the log's lines with that message and level.
func (b *logBook) with(msg, level string) (of []logLine) {
	for _, l := range b.all() {
		if l["msg"] == msg && l["level"] == level {
			of = append(of, l)
		}
	}
	return of
}

// A client over the limit gets a general failure, or is closed; the log has one line for all of
// them; and when a session ends a new one is accepted.
func TestTooManySessions(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{MaxSessions: 3})
	e.net.peer("server.example:80", echo)
	var good []net.Conn
	for range 3 {
		good = append(good, e.connect("server.example:80"))
	}
	const times = 40
	codes := make(chan byte, times)
	each(times, times, func(int) {
		client := e.dial()
		defer client.Close()
		code, err := ask(client, "server.example:80")
		if err != nil {
			code = 255 // closed without a reply
		}
		codes <- code
	})
	replies := 0
	for range times {
		switch code := <-codes; code {
		case 1:
			replies++
		case 255:
		default:
			t.Errorf("reply %d", code)
		}
	}
	if replies == 0 {
		t.Error("no client got a reply")
	}
	silent := []net.Conn{e.dial(), e.dial(), e.dial(), e.dial(), e.dial()} // the server does not wait for them
	for _, client := range silent {
		wantClosed(t, client)
	}
	if n := e.net.dialled("server.example:80"); n != 3 {
		t.Errorf("dialled %d times, want 3", n)
	}
	refused := e.logs.with("session refused", "WARN")
	if len(refused) != 1 || !strings.Contains(fmt.Sprint(refused), "--max-sessions") {
		t.Errorf("the log says %v", refused)
	}

	fmt.Fprint(good[0], "hello")
	if _, err := io.ReadFull(good[0], make([]byte, 5)); err != nil {
		t.Errorf("an open session: %v", err)
	}
	hangUp(good[0])
	good[0].Close()
	e.wantEnd(good[0], "closed", "both sides")
	again := e.connect("server.example:80")
	for _, client := range append(good[1:], again) {
		client.Close()
		e.end(client)
	}
}

// Identical lines are written once a minute, and none goes uncounted.
func TestFoldedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := newLogBook()
		l := &exhaustedListener{failures: 100, conns: make(chan net.Conn)}
		s := &proxy.Server{Log: slog.New(slog.NewJSONHandler(logs, nil))}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		time.Sleep(10 * time.Minute)
		s.Close()
		<-served
		time.Sleep(10 * time.Minute)
		n := 0.0
		all := logs.with("cannot accept a connection; trying again", "ERROR")
		for i, line := range all {
			if again, ok := line["again"].(float64); ok {
				n += again
			} else if i > 0 {
				t.Errorf("line %d: %v", i, line)
			} else {
				n++
			}
		}
		if n != 100 || len(all) < 2 || len(all) > 4 {
			t.Errorf("%d lines for %v failures: %v", len(all), n, all)
		}
	})
}

// addrConn is a connection with another remote address.
type addrConn struct {
	net.Conn
	from net.Addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.from }

// pipeListener is a listener at addr whose connections come from the test.
type pipeListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.addr }

// Faults of a public listener's clients give one line per client address, and one with the number
// of repetitions; local clients' faults give a line each.
func TestClientFaultsAreFolded(t *testing.T) {
	for listen, folded := range map[string]bool{"192.0.2.1:1324": true, "127.0.0.1:1324": false} {
		synctest.Test(t, func(t *testing.T) {
			logs := newLogBook()
			s := &proxy.Server{ClientRate: 1000, Log: slog.New(slog.NewJSONHandler(logs, nil))}
			s.Socks.Auth = &socks.Credentials{Username: "user", Password: "another"}
			l := &pipeListener{net.TCPAddrFromAddrPort(netip.MustParseAddrPort(listen)), make(chan net.Conn), make(chan struct{})}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			const n = 20
			for range n {
				for _, from := range []string{"203.0.113.1:1", "203.0.113.2:1"} {
					for _, says := range []string{"GET / HTTP/1.1", "\x05\x01\x02\x01\x04user\x06secret"} {
						client, conn := net.Pipe()
						l.conns <- addrConn{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
						go io.WriteString(client, says)
						io.Copy(io.Discard, client)
						client.Close()
					}
				}
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			<-served
			first, again := logs.with("session refused", "WARN"), logs.with("session refused again", "WARN")
			want := map[bool][2]int{true: {4, 4}, false: {4 * n, 0}}[folded]
			if len(first) != want[0] || len(again) != want[1] {
				t.Fatalf("%s: %d lines and %d later, want %v", listen, len(first), len(again), want)
			}
			for _, line := range again {
				if line["repeated"] != n-1. || line["clients"] != "203.0.113.1/32" && line["clients"] != "203.0.113.2/32" {
					t.Errorf("the log says %v", line)
				}
			}
		})
	}
}

// Faults are folded regardless of ports and destinations.
func TestClientFaultsAreFoldedByReason(t *testing.T) {
	t.Parallel()
	logs := newLogBook()
	e := start(t, &proxy.Server{ClientRate: 1000, Policy: proxy.Policy{Rules: parseRules(t, "deny", "*")}, Log: slog.New(slog.NewJSONHandler(logs, nil))})
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(l) }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	const n = 10
	for i := range n {
		broken := e.dialTo("127.0.0.1:" + port)
		broken.Write([]byte{5})
		reset(broken)
		denied := e.dialTo("127.0.0.1:" + port)
		if code, err := ask(denied, fmt.Sprintf("node%d.example:%d", i, 8333+i)); code != 2 {
			t.Errorf("reply %d, %v", code, err)
		}
		wantClosed(t, denied)
	}
	if err := e.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
	first, again := logs.with("session refused", "WARN"), logs.with("session refused again", "WARN")
	if len(first) != 2 || len(again) != 2 || again[0]["repeated"] != n-1. || again[1]["repeated"] != n-1. {
		t.Errorf("the log says %v, then %v", first, again)
	}
}

// On a public listener each address, or IPv6 /64, has its own rate limit; on others there is none.
func TestClientRate(t *testing.T) {
	for listen, limited := range map[string]bool{"0.0.0.0:1324": true, "192.0.2.1:1324": true, "127.0.0.1:1324": false} {
		t.Run(listen, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logs := newLogBook()
				s := &proxy.Server{ClientRate: 2, Hint: hints.For, Log: slog.New(slog.NewJSONHandler(logs, nil))}
				l := &pipeListener{net.TCPAddrFromAddrPort(netip.MustParseAddrPort(listen)), make(chan net.Conn), make(chan struct{})}
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				admitted := func(from string) bool { // one answer to a greeting
					client, conn := net.Pipe()
					defer client.Close()
					l.conns <- addrConn{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
					client.Write([]byte{5, 1, 0})
					_, err := io.ReadFull(client, make([]byte, 2))
					return err == nil
				}
				count := func(n int, from string) (ok int) {
					for range n {
						if admitted(from) {
							ok++
						}
					}
					return ok
				}
				want := func(got, want int, what string) {
					if !limited {
						want = 20
					}
					if got != want {
						t.Errorf("%s: %d of 20 were admitted, want %d", what, got, want)
					}
				}
				want(count(20, "203.0.113.1:1"), 10, "a burst")
				want(count(20, "203.0.113.1:2"), 0, "the same address")
				want(count(20, "203.0.113.2:1"), 10, "another address")
				want(count(20, "[2001:db8::1]:1"), 10, "IPv6")
				want(count(20, "[2001:db8::ffff:1]:1"), 0, "the same /64")
				want(count(20, "[2001:db8:0:1::1]:1"), 10, "another /64")
				time.Sleep(2 * time.Second)
				want(count(20, "203.0.113.1:3"), 4, "two seconds later")
				s.Close()
				<-served
				lines := logs.with("connection refused", "WARN")
				if (len(lines) == 2 && lines[1]["again"] == 95.) != limited || // one at once, the others at the end
					limited && !strings.Contains(fmt.Sprint(lines), "--client-rate") {
					t.Errorf("the log says %v", lines)
				}
			})
		})
	}
}

// An incomplete message ends the session after a time, however steadily it trickles and whatever is
// sent the other way.
func TestTrickledMessage(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	trickle := func(nc net.Conn) func([]byte) []byte {
		return func(b []byte) []byte {
			for i := range b {
				if _, err := nc.Write(b[i : i+1]); err != nil {
					break
				}
				time.Sleep(idle / 10)
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		client bool
		why    string
	}{
		"client": {true, "the client has not completed a message for too long"},
		"peer":   {false, "the peer has not completed a message for too long"},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, &proxy.Server{IdleTimeout: idle})
			e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
				m := &mangler{TCPConn: nc}
				peer, err := transport.Server(context.Background(), m, peerConfig(mainnet))
				if err != nil {
					return
				}
				e.net.wg.Go(func() {
					for {
						if _, err := peer.ReadPacket(); err != nil {
							return
						}
					}
				})
				if !c.client {
					m.mangle = trickle(nc)
				}
				for peer.WritePacket([]byte(longContents("verack", randomBytes(1000, 1)))) == nil {
					time.Sleep(idle / 10)
				}
			})
			client := e.connect("node.example:8333")
			client.Write(v1Message(mainnet, "version", version))
			e.net.wg.Go(func() { io.Copy(io.Discard, client) })
			began := time.Now()
			if c.client {
				trickle(client)(v1Message(mainnet, "block", randomBytes(1000, 1)))
			} else {
				defer keepTalking(client, idle/10)()
			}
			e.wantEnd(client, "closed", c.why)
			if took := time.Since(began); took < idle {
				t.Errorf("the session ended after %v, before the idle timeout of %v", took, idle)
			}
		})
	}
}
