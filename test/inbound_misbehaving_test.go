package test

import (
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/inbound"
	product "bip324proxy/proxy"
	"bip324proxy/test/hostile"
)

// corridor is a listener whose connections are pipes: the time in a synctest bubble moves on while all wait for them.
type corridor struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func() // closes closed, once
}

func (c *corridor) Accept() (net.Conn, error) {
	select {
	case nc := <-c.conns:
		return nc, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

func (c *corridor) Close() error   { c.close(); return nil }
func (c *corridor) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8333} }

// piped is an end of a pipe with the address of a peer.
type piped struct{ net.Conn }

func (p piped) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50_000} }

// eager is an end of a pipe that writes without waiting for a reader, as a socket does.
type eager struct {
	net.Conn
	out chan []byte
}

func (e eager) Write(p []byte) (int, error) {
	if len(p) > 0 {
		e.out <- append([]byte(nil), p...)
	}
	return len(p), nil
}

// callServer serves peers in a bubble with a node that does not exist, and connects one. took receives how long its
// connection lasted, once it has ended, and sent how many bytes it was sent so far.
func callServer(t *testing.T) (nc net.Conn, took <-chan time.Duration, sent func() int) {
	server := &product.Server{Log: slog.New(slog.DiscardHandler)}
	over := make(chan struct{})
	l := &corridor{make(chan net.Conn), over, sync.OnceFunc(func() { close(over) })}
	node := &inbound.Node{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}
	go server.ServeInbound(l, product.Inbound{Node: node, Magic: mainnetMagic})
	ours, theirs := net.Pipe()
	began := time.Now()
	l.conns <- piped{theirs}
	out := make(chan []byte, 10_000)
	go func() {
		for b := range out {
			ours.Write(b)
		}
	}()
	t.Cleanup(func() {
		ours.Close()
		close(out)
		server.Close()
	})
	// What the server sends is read at once, for the peer to read when it likes.
	r, w := io.Pipe()
	lasted := make(chan time.Duration, 1)
	var total atomic.Int64
	received := make(chan []byte, 10_000)
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := ours.Read(b)
			total.Add(int64(n))
			received <- append([]byte(nil), b[:n]...)
			if err != nil {
				lasted <- time.Since(began)
				close(received)
				return
			}
		}
	}()
	go func() {
		for b := range received {
			w.Write(b)
		}
		w.Close()
	}()
	t.Cleanup(func() { r.Close() })
	return readFrom{eager{ours, out}, r}, lasted, func() int {
		synctest.Wait()
		return int(total.Load())
	}
}

type readFrom struct {
	net.Conn
	r io.Reader
}

func (c readFrom) Read(p []byte) (int, error) { return c.r.Read(p) }

// The six peers of Bitcoin Core's p2p_v2_misbehaving, at a listener for peers.
func TestMisbehavingInitiators(t *testing.T) {
	t.Parallel()
	t.Run("early key response", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nc, took, sent := callServer(t)
			nc.Write(mainnetMagic[:])
			if n := sent(); n > 0 {
				t.Errorf("sent %d bytes to a peer that may speak v1", n)
			}
			nc.Write(junk[:60])
			if n := sent(); n < 64 {
				t.Errorf("sent %d bytes to a peer that speaks v2, want a key", n)
			}
			if d := <-took; d != 30*time.Second {
				t.Errorf("the connection lasted %v, want 30 s", d)
			}
		})
	})
	for _, c := range []struct {
		name   string
		script hostile.Script
		lasts  time.Duration
	}{
		{"excess garbage", hostile.Script{Garbage: junk[:4096]}, 0},
		{"much excess garbage", hostile.Script{Garbage: junk[:2*4095]}, 0},
		{"wrong garbage terminator", hostile.Script{Garbage: junk[:2047], FlipBit: 77}, 30 * time.Second},
		{"wrong garbage", hostile.Script{Garbage: junk[:200], FlipGarbage: 777}, 0},
		{"no associated data", hostile.Script{Garbage: junk[:200], AAD: func(int, []byte) []byte { return nil }}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, took, _ := callServer(t)
				if _, err := c.script.Speak(nc, true); err != nil {
					t.Error(err)
				}
				if d := <-took; d != c.lasts {
					t.Errorf("the connection lasted %v, want %v", d, c.lasts)
				}
			})
		})
	}
	t.Run("non-empty version packet", func(t *testing.T) {
		b := startLobby(t)
		nc := b.call(t)
		e, err := hostile.Script{Garbage: junk[:77], Version: junk[:5]}.Shake(nc, true)
		if err != nil {
			t.Fatal(err)
		}
		e.Send(hostile.V2(version.name, version.payload))
		if _, err := e.Receive(); err != nil {
			t.Errorf("the node's VERSION: %v", err)
		}
		verack := message{name: "verack"}
		e.Send(hostile.V2(verack.name, nil))
		nc.end(t, "non-empty version packet")
		if err := same(b.received(t, version), []message{version, verack}); err != nil {
			t.Error(err)
		}
	})
}

// A peer that stops at any byte until its VERSION is complete is gone 30 s after it came, even if it sent a byte a second
// until then, or went on with decoys.
func TestInboundStallsEndInTime(t *testing.T) {
	t.Parallel()
	stall := func(name string, play func(nc net.Conn)) {
		synctest.Test(t, func(t *testing.T) {
			nc, took, _ := callServer(t)
			played := make(chan struct{})
			go func() {
				defer close(played)
				play(nc)
			}()
			if d := <-took; d != 30*time.Second {
				t.Errorf("%s: the connection lasted %v, want 30 s", name, d)
			}
			<-played
		})
	}
	script := hostile.Script{Garbage: junk[:5]}
	packet := 3 + 1 + 13 + len(version.payload) + 16
	for n := range 15 {
		stall("a v1 header", func(nc net.Conn) { nc.Write(hello[:n]) })
		stall("a key", func(nc net.Conn) { nc.Write(junk[:1+n*7]) })
	}
	for n := 0; n < packet; n += 10 {
		stall("VERSION", func(nc net.Conn) {
			if e, err := script.Shake(nc, true); err == nil {
				nc.Write(e.Seal(hostile.V2(version.name, version.payload), 0)[:n])
			}
		})
	}
	stall("a byte a second", func(nc net.Conn) {
		for i := range 40 {
			nc.Write(junk[i : i+1])
			time.Sleep(time.Second)
		}
	})
	stall("decoys", func(nc net.Conn) {
		if e, err := script.Shake(nc, true); err == nil {
			for range 40 {
				e.SendDecoy(junk[:100])
				time.Sleep(time.Second)
			}
		}
	})
}
