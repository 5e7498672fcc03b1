package proxy_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// phases are the states in which the end of the server may find a session. Each function returns a
// client whose session is in that state.
var phases = map[string]func(e *env) net.Conn{
	"greeting": func(e *env) net.Conn {
		client := e.dial()
		client.Write([]byte{5, 1, 0})
		io.ReadFull(client, make([]byte, 2))
		return client
	},
	"dial": func(e *env) net.Conn {
		client := e.dial()
		client.Write(append([]byte{5, 1, 0}, request(1, "hangs.example:8333")...))
		io.ReadFull(client, make([]byte, 2))
		<-e.net.hanging
		return client
	},
	"first bytes": granted,
	"version": func(e *env) net.Conn {
		client := granted(e)
		client.Write(v1Message(mainnet, "version", version)[:50])
		return client
	},
	"handshake": func(e *env) net.Conn {
		reached := make(chan struct{})
		e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
			nc.Read(make([]byte, 8192))
			close(reached)
			io.Copy(io.Discard, nc)
		})
		client := e.connect("node.example:8333")
		client.Write(v1Message(mainnet, "version", version))
		receive(e.t, reached, "the handshake")
		return client
	},
	"bridge": func(e *env) net.Conn {
		e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
			c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
			for {
				if _, err := c.ReadPacket(); err != nil {
					return
				}
			}
		}))
		client := e.connect("node.example:8333")
		client.Write(v1Message(mainnet, "version", version))
		readV1(client)
		return client
	},
	"passthrough": func(e *env) net.Conn {
		e.net.peer("server.example:80", echo)
		client := e.connect("server.example:80")
		client.Write([]byte("hello"))
		io.ReadFull(client, make([]byte, 5))
		return client
	},
	"v1": func(e *env) net.Conn {
		e.server.Dialer.Peers.Note("192.0.2.1:8333", fallback.SpeaksV1)
		e.net.peer("192.0.2.1:8333", func(nc *net.TCPConn, _ int) { speakV1(nc) })
		client := e.connect("192.0.2.1:8333")
		client.Write(v1Message(mainnet, "version", version))
		readV1(client)
		return client
	},
}

func granted(e *env) net.Conn {
	e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) { io.Copy(io.Discard, nc) })
	return e.connect("node.example:8333")
}

// Close, and Shutdown without grace, end a session at once in any state, and the log gives the
// proxy as the cause.
func TestStopInEveryPhase(t *testing.T) {
	t.Parallel()
	for name, phase := range phases {
		for how, stop := range map[string]func(*proxy.Server){
			"Close": func(s *proxy.Server) { s.Close() },
			"Shutdown": func(s *proxy.Server) {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if err := s.Shutdown(ctx); err != context.Canceled {
					t.Errorf("Shutdown returned %v", err)
				}
			},
		} {
			t.Run(how+"/"+name, func(t *testing.T) {
				e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{
					Mode: fallback.Always, Peers: new(fallback.Peers), FirstByteTimeout: time.Minute, DialTimeout: time.Minute,
				}}})
				client := phase(e)
				gone := make(chan error, 1)
				go func() { // as clients do when they see the end
					_, err := io.Copy(io.Discard, client)
					client.Close()
					gone <- err
				}()
				began := time.Now()
				stop(e.server)
				line := e.end(client)
				if took := time.Since(began); took > 1500*time.Millisecond {
					t.Errorf("ending took %v", took)
				}
				if line["reason"] != "the proxy is stopping" || line["level"] != "INFO" {
					t.Errorf("got %v, want a line saying that the proxy is stopping", line)
				}
				if errors.Is(receive(t, gone, "the client's end"), os.ErrDeadlineExceeded) {
					t.Error("the client's connection is still open")
				}
			})
		}
	}
}

// When Close returns the log has the end of each session.
func TestCloseAwaitsSessions(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	const sessions = 50
	e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) { io.Copy(io.Discard, nc) })
	for range sessions {
		e.connect("node.example:8333")
	}
	e.server.Close()
	if n := strings.Count(e.logs.text(), "the proxy is stopping"); n != sessions {
		t.Errorf("the log has the end of %d sessions, want %d", n, sessions)
	}
}

// For any number of sessions the log gives the proxy as the cause of each end, even if the
// cancelled context is seen first.
func TestStopManySessions(t *testing.T) {
	t.Parallel()
	for how, stop := range map[string]func(*proxy.Server){
		"Close": func(s *proxy.Server) { s.Close() },
		"Shutdown": func(s *proxy.Server) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.Shutdown(ctx)
		},
	} {
		t.Run(how, func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, FirstByteTimeout: time.Minute}}})
			const sessions = 100
			reached := make(chan struct{}, sessions)
			e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
				nc.Read(make([]byte, 8192))
				reached <- struct{}{}
				io.Copy(io.Discard, nc)
			})
			var clients []net.Conn
			for range sessions {
				client := e.connect("node.example:8333")
				client.Write(v1Message(mainnet, "version", version))
				clients = append(clients, client)
			}
			for range sessions {
				receive(t, reached, "a handshake")
			}
			stop(e.server)
			for _, client := range clients {
				if e.wantEnd(client, "refused", "the proxy is stopping"); t.Failed() {
					break
				}
			}
			if n := e.net.dialled("node.example:8333"); n != sessions {
				t.Errorf("dialled %d times: a stop of the proxy must not cause a fallback", n)
			}
		})
	}
}

func TestShutdownWithoutSessions(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	client := e.dial()
	client.Close()
	e.end(client) // so Serve is running
	if err := e.server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if nc, err := net.Dial("tcp", e.addr); err == nil {
		nc.Close()
		t.Error("the server still listens")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.server.Serve(l); err != proxy.ErrServerClosed {
		t.Errorf("Serve after Shutdown returned %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is not closed: %v", err)
	}
}

// A server that was never started can be stopped.
func TestStopUnused(t *testing.T) {
	s := new(proxy.Server)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	s.Close()
	s.Close()
}

// Shutdown lets sessions go on until the grace period is over.
func TestShutdownWaits(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	client := phases["passthrough"](e)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { done <- e.server.Shutdown(ctx) }()
	for { // until the server has stopped listening
		nc, err := net.Dial("tcp", e.addr)
		if err != nil {
			break
		}
		nc.Close()
	}
	client.Write([]byte("hello"))
	if _, err := io.ReadFull(client, make([]byte, 5)); err != nil {
		t.Errorf("the session did not go on: %v", err)
	}
	if len(done) > 0 {
		t.Error("Shutdown did not wait")
	}
	hangUp(client)
	client.Close()
	if err := receive(t, done, "Shutdown"); err != nil {
		t.Error(err)
	}
	e.wantEnd(client, "closed", "both sides closed the connection")
}

// A client that reads receives whole messages until the end.
func TestShutdownBetweenMessages(t *testing.T) {
	t.Parallel()
	for name, pings := range map[string]bool{"client listens": false, "client talks": true} {
		t.Run(name, func(t *testing.T) {
			e := start(t, &proxy.Server{})
			e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
				go func() {
					for {
						if _, err := c.ReadPacket(); err != nil {
							return
						}
					}
				}()
				block := v1v2.AppendContents(nil, v1v2.TypeOf("block"), randomBytes(100_000, 1))
				for c.WritePacket(block) == nil {
				}
			}))
			client := e.connect("node.example:8333")
			client.Write(v1Message(mainnet, "version", version))
			if pings {
				defer keepTalking(client, time.Microsecond)()
			}
			done := make(chan error, 1)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			for n := 0; ; n++ {
				if n == 10 {
					go func() { done <- e.server.Shutdown(ctx) }()
				}
				_, _, err := readV1(client)
				if err == io.EOF && n >= 10 {
					break
				}
				if err != nil {
					t.Errorf("message %d: %v", n, err)
					break
				}
			}
			client.Close()
			if err := receive(t, done, "Shutdown"); err != context.Canceled {
				t.Error(err)
			}
			e.wantEnd(client, "closed", "the proxy is stopping")
		})
	}
}

// The same in the direction of the peer.
func TestShutdownBetweenPackets(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	last := make(chan error, 1)
	ten := make(chan struct{})
	e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
		for n := 0; ; n++ {
			if n == 10 {
				close(ten)
			}
			if _, err := c.ReadPacket(); err != nil {
				last <- err
				return
			}
		}
	}))
	client := e.connect("node.example:8333")
	client.Write(v1Message(mainnet, "version", version))
	e.net.wg.Go(func() {
		block := v1Message(mainnet, "block", randomBytes(100_000, 1))
		for {
			if _, err := client.Write(block); err != nil {
				return
			}
		}
	})
	receive(t, ten, "ten messages")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e.server.Shutdown(ctx)
	if err := receive(t, last, "the end at the peer"); err != io.EOF {
		t.Errorf("the peer's stream ends with %v", err)
	}
	client.Close()
	e.wantEnd(client, "closed", "the proxy is stopping")
}

// lateListener accepts one last client at the moment of its closing, as a listener may whose socket
// other processes keep open.
type lateListener struct {
	pipeListener
	last chan net.Conn
}

func (l *lateListener) Accept() (net.Conn, error) {
	<-l.done
	select {
	case c := <-l.last:
		return c, nil
	default:
		return nil, net.ErrClosed
	}
}

// A client accepted just as the server begins to stop is served like any other during the grace
// period; without one it is closed.
func TestAcceptedWhileStopping(t *testing.T) {
	for _, grace := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &proxy.Server{Log: slog.New(slog.DiscardHandler)}
			l := &lateListener{pipeListener{&net.TCPAddr{}, nil, make(chan struct{})}, make(chan net.Conn, 1)}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			synctest.Wait()
			client, conn := net.Pipe()
			l.last <- conn
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				if grace {
					s.Shutdown(t.Context())
				} else {
					s.Close()
				}
			}()
			synctest.Wait()
			client.SetDeadline(time.Now().Add(patience))
			client.Write([]byte{5, 1, 0})
			_, err := io.ReadFull(client, make([]byte, 2))
			if grace != (err == nil) {
				t.Errorf("grace %v: %v", grace, err)
			}
			client.Close()
			<-stopped
			if err := <-served; err != proxy.ErrServerClosed {
				t.Errorf("Serve returned %v", err)
			}
		})
	}
}
