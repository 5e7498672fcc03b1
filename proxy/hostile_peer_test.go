package proxy_test

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// An ending is what a peer does after its last byte.
type ending struct {
	name string
	do   func(nc *net.TCPConn)
}

var (
	fin   = ending{"closes", func(nc *net.TCPConn) { hangUp(nc) }}
	rst   = ending{"resets", func(nc *net.TCPConn) { reset(nc) }}
	stall = ending{"stays silent", func(nc *net.TCPConn) { io.Copy(io.Discard, nc) }}
)

// cutPeer sends k bytes of its flight, reads the proxy's response, and ends.
func cutPeer(t *testing.T, k int, end ending) func(*net.TCPConn, int) {
	return func(nc *net.TCPConn, _ int) {
		p, err := newHandPeer(nc, mainnet)
		if err == nil {
			_, err = nc.Write(p.flight[:k])
		}
		if err == nil && k >= keySize {
			err = p.readFlight()
		}
		if err != nil {
			t.Errorf("%s after byte %d: %v", end.name, k, err)
		}
		end.do(nc)
	}
}

// reasonAfter returns the reason for the end of a session whose peer ended after k bytes.
func reasonAfter(k int, end ending) string {
	stage := transport.StageVersion
	switch {
	case k == 0 && end.name == stall.name:
		return "did not answer the v2 handshake in time"
	case k == 0:
		return "hung up during the v2 handshake without an answer"
	case k < keySize:
		stage = transport.StageKey
	case k < helloSize:
		stage = transport.StageGarbage
	}
	return "v2 handshake failed " + stage.String()
}

// If a peer ends after the last byte of its handshake, a session opens and ends with the peer.
func TestPeerEndsAfterHandshake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		end ending
		why string
	}{
		{fin, "the peer closed the connection"},
		{rst, "the peer: "},
		{stall, "the peer neither sent nor accepted data for too long"},
	} {
		t.Run(c.end.name, func(t *testing.T) {
			server := &proxy.Server{}
			if c.end.name == stall.name {
				server.IdleTimeout = 4 * time.Second // a quarter of it is enough to notice in time, on a busy machine, too
			}
			e := start(t, server)
			e.net.tap = true
			e.net.peer("node.example:8333", cutPeer(t, flightSize, c.end))
			client := e.connect("node.example:8333")
			client.Write(v1Message(mainnet, "version", version))
			if c.end.name == stall.name { // or the client would be idle as well
				stop := keepTalking(client, server.IdleTimeout/4)
				defer stop()
			}
			wantClosed(t, client)
			client.Close()
			e.wantEnd(client, "closed", c.why)
			wantNoV1(t, e, "node.example:8333")
		})
	}
}

// keepTalking sends a ping every interval, until it is stopped or fails.
func keepTalking(nc net.Conn, interval time.Duration) (stop func()) {
	ping := v1Message(mainnet, "ping", make([]byte, 8))
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				if _, err := nc.Write(ping); err != nil {
					return
				}
			}
		}
	}()
	return func() { close(quit); <-done }
}

// wantNoV1 checks that dest was dialled once and was sent nothing of v1.
func wantNoV1(t *testing.T, e *env, dest string) {
	t.Helper()
	if n := e.net.dialled(dest); n != 1 {
		t.Errorf("%s was dialled %d times, want 1", dest, n)
	}
	for _, conn := range e.net.sent(dest) {
		for _, b := range conn {
			wantNoPlaintext(t, dest, b)
		}
	}
}

// Other faults of a peer, and how the session ends.
func TestPeerMisbehaves(t *testing.T) {
	t.Parallel()
	garbage := func(n int) func(*net.TCPConn, int) {
		return func(nc *net.TCPConn, _ int) {
			if _, err := newHandPeer(nc, mainnet); err == nil {
				nc.Write(randomBytes(n, 5))
			}
			io.Copy(io.Discard, nc)
		}
	}
	rows := []struct {
		name     string
		play     func(*net.TCPConn, int)
		how, why string
	}{
		{"huge length", manglingPeer(promise(1<<24 - 1)), "closed", "the peer: packet contents of 16777215 bytes"},
		{"length over the limit by one", manglingPeer(promise(4_000_014)), "closed", "the peer: packet contents of 4000014 bytes"},
		{"wrong tag", manglingPeer(func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), "closed", "the peer: packet authentication failed"},
		{"wrong header", manglingPeer(func(p []byte) []byte { p[3] ^= 0x80; return p }), "closed", "the peer: packet authentication failed"},
		{"packet twice", func(nc *net.TCPConn, dial int) {
			manglingPeer(func(p []byte) []byte { defer nc.CloseWrite(); nc.Write(append(p, p...)); return nil })(nc, dial)
		}, "closed", "the peer"}, // with a random length
		{"packet cut off", func(nc *net.TCPConn, dial int) {
			manglingPeer(func(p []byte) []byte { defer nc.CloseWrite(); nc.Write(p[:20]); return nil })(nc, dial)
		}, "closed", "the peer closed the connection within a message"},
		{"no terminator", garbage(keySize + 4095 + 16), "refused", "no garbage terminator in 4111 bytes"},
		{"key and all garbage, then silence", garbage(keySize + 4095 + 15), "refused", "waiting for the peer's garbage terminator"},
		{"another network", func(nc *net.TCPConn, _ int) {
			if p, err := newHandPeer(nc, signet); err == nil {
				nc.Write(p.flight)
			}
			io.Copy(io.Discard, nc)
		}, "refused", "waiting for the peer's garbage terminator"},
		{"part of a v1 header", func(nc *net.TCPConn, _ int) {
			if _, err := newHandPeer(nc, mainnet); err == nil {
				nc.Write(v1Message(mainnet, "version", []byte("unasked"))[:23])
			}
			hangUp(nc)
		}, "refused", "waiting for the peer's key"},
		{"v1 of another network", func(nc *net.TCPConn, _ int) {
			if _, err := newHandPeer(nc, mainnet); err == nil {
				nc.Write(v1Message(signet, "version", []byte("unasked")))
			}
			hangUp(nc)
		}, "refused", "the peer speaks v1, and on another network than mainnet"},
		{"our own bytes", func(nc *net.TCPConn, _ int) { io.Copy(nc, nc) }, "refused", "v2 handshake failed"},
	}
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, HandshakeTimeout: time.Second}}})
	e.net.tap = true
	each(len(rows), len(rows), func(i int) {
		c, dest := rows[i], fmt.Sprintf("node%d.example:8333", i)
		e.net.peer(dest, c.play)
		client := e.connect(dest)
		client.Write(v1Message(mainnet, "version", version))
		var want []byte
		if c.name == "packet twice" { // the first is good
			want = v1Message(mainnet, "ping", randomBytes(9, 3))
		}
		if b, err := io.ReadAll(client); string(b) != string(want) || err != nil {
			t.Errorf("%s: the client received %d bytes, %v", c.name, len(b), err)
		}
		client.Close()
		e.wantEnd(client, c.how, c.why)
		wantNoV1(t, e, dest)
	})
}

// If data from the peer before the client's VERSION started a passthrough, the VERSION would be
// sent in plaintext.
func TestPeerSpeaksFirst(t *testing.T) {
	t.Parallel()
	for _, mode := range []fallback.Mode{fallback.Never, fallback.Always} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: mode}}})
		var received atomic.Int64
		e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
			nc.Write([]byte{1})
			n, _ := io.Copy(io.Discard, nc)
			received.Add(n)
		})
		client := e.connect("node.example:8333")
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil { // as in any protocol in which the server speaks first
			t.Fatal(err)
		}
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		e.wantEnd(client, "refused", "the peer sent data before the client's VERSION")
		e.net.wg.Wait()
		if n := received.Load(); n != 0 || e.net.dialled("node.example:8333") != 1 {
			t.Errorf("the peer received %d bytes on %d connections", n, e.net.dialled("node.example:8333"))
		}
	}
}

// A peer that leaves before the client has sent anything is not a v1 peer.
func TestPeerGoneAtOnce(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}}})
	e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) { hangUp(nc) })
	client := e.connect("node.example:8333")
	wantClosed(t, client) // half: the client may still send
	client.Write(v1Message(mainnet, "version", version))
	e.wantEnd(client, "refused", "the peer closed the connection before anything was said")
	if n := e.net.dialled("node.example:8333"); n != 1 {
		t.Errorf("dialled %d times", n)
	}
}
