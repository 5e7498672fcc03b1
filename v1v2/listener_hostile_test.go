package v1v2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// sendSlowly sends a byte a second.
func sendSlowly(nc net.Conn, b []byte) {
	for i := range b {
		if _, err := nc.Write(b[i : i+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// No peer holds up another one: while all of these are connected, one that speaks v2 is accepted
// at once. Each of them ends for its own reason, and at its time.
func TestListenerHostilePeers(t *testing.T) {
	version := v1Bytes(mainnet, "version", testBytes(100, 1))
	noise := testBytes(5000, 2)
	for _, c := range []struct {
		name     string
		do       func(net.Conn)
		err      error
		at       time.Duration
		answered bool // with our key
	}{
		{"silent", func(net.Conn) {}, transport.ErrSilent, 15 * time.Second, false},
		{"hangs up", func(nc net.Conn) { nc.Close() }, io.EOF, 0, false},
		{"the magic, then silence", func(nc net.Conn) { nc.Write(version[:4]) }, context.DeadlineExceeded, 30 * time.Second, false},
		{"the magic, then hangs up", func(nc net.Conn) { nc.Write(version[:4]); nc.Close() }, io.EOF, 0, false},
		{"one byte, then silence", func(nc net.Conn) { nc.Write(noise[:1]) }, context.DeadlineExceeded, 30 * time.Second, true},
		{"a byte a second", func(nc net.Conn) { sendSlowly(nc, noise) }, context.DeadlineExceeded, 30 * time.Second, true},
		{"a key, then silence", func(nc net.Conn) { nc.Write(noise[:64]) }, context.DeadlineExceeded, 30 * time.Second, true},
		{"a key, then hangs up", func(nc net.Conn) { nc.Write(noise[:64]); nc.Close() }, io.ErrClosedPipe, 0, true},
		{"4,095 bytes of garbage, then silence", func(nc net.Conn) { nc.Write(noise[:64+4095]) }, context.DeadlineExceeded, 30 * time.Second, true},
		{"too much garbage", func(nc net.Conn) { nc.Write(noise) }, transport.ErrNoTerminator, 0, true},
		{"v1", func(nc net.Conn) { nc.Write(version) }, transport.ErrV1Peer, 0, false},
		{"v1, a byte a second", func(nc net.Conn) { sendSlowly(nc, version) }, transport.ErrV1Peer, 15 * time.Second, false},
		{"v1 of another network", func(nc net.Conn) { nc.Write(v1Bytes([4]byte{1, 2, 3, 4}, "version", nil)) }, transport.ErrV1OtherNetwork, 0, false},
		{"v1 without VERSION", func(nc net.Conn) { nc.Write(v1Bytes(mainnet, "ping", noise[:100])) }, context.DeadlineExceeded, 30 * time.Second, true},
		{"TLS", func(nc net.Conn) { nc.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")) }, context.DeadlineExceeded, 30 * time.Second, true},
		{"HTTP", func(nc net.Conn) { nc.Write([]byte("GET / HTTP/1.1\r\nHost: 203.0.113.1\r\n\r\n")) }, context.DeadlineExceeded, 30 * time.Second, true},
		{"v2 on another network", func(nc net.Conn) {
			Client(context.Background(), nc, transport.Config{Magic: [4]byte{1, 2, 3, 4}, Garbage: []byte{}, Decoys: []int{5000}})
		}, transport.ErrNoTerminator, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t, func(l *Listener) {
					l.MaxHandshakes = 10
					l.Config.Garbage = []byte{} // or the one on another network may give up first
				})
				const n = 5 // of the same kind
				answers := make(chan int, n)
				var peers sync.WaitGroup
				for range n {
					nc := h.connect("192.0.2.1")
					switch c.name {
					case "a key, then hangs up", "v2 on another network": // reads itself, or not at all
						answers <- 64
						peers.Go(func() { c.do(nc) })
					default:
						go func() {
							b, _ := io.ReadAll(nc)
							answers <- len(b)
						}()
						peers.Go(func() { c.do(nc) })
					}
				}
				peer := h.dial("192.0.2.2")
				nc, err := h.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(h.begun); took != 0 {
					t.Errorf("a peer that speaks v2 was accepted after %v", took)
				}
				ours, theirs := nc.(*Conn), (<-peer).conn
				checkTalk(t, theirs, ours)
				theirs.Close()
				ours.Close()

				for range n {
					if got := <-answers; (got >= transport.KeySize) != c.answered || !c.answered && got != 0 {
						t.Errorf("sent it %d bytes", got)
					}
				}
				failed := h.failures()
				for time.Since(h.begun) < c.at {
					time.Sleep(time.Second)
					failed = h.failures()
				}
				if len(failed) != n {
					t.Fatalf("%d of %d failed: %v", len(failed), n, failed)
				}
				for _, f := range failed {
					var shake *transport.HandshakeError
					if !errors.Is(f.err, c.err) || f.at != c.at || !errors.As(f.err, &shake) {
						t.Errorf("got %v after %v, want %v after %v", f.err, f.at, c.err, c.at)
					}
				}
				peers.Wait()
			})
		})
	}
}

// A peer that takes nothing of what it is sent ends, too.
func TestListenerPeerThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, nil)
		nc := h.connect("192.0.2.1")
		go nc.Write(testBytes(64, 1))
		go h.Accept()
		time.Sleep(time.Minute)
		if f := h.failures(); len(f) != 1 || !errors.Is(f[0].err, context.DeadlineExceeded) || f[0].at != 30*time.Second {
			t.Errorf("got %v", f)
		}
	})
}

// Before the first bytes show that a connection is not v1, nothing is computed for it, so that
// those in it do not wait for the semaphore.
func TestListenerComputesNothingForV1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		semaphore := make(chan struct{}, 1)
		semaphore <- struct{}{}
		h := newHall(t, func(l *Listener) { l.Config.Semaphore, l.AllowV1 = semaphore, true })
		waiting := h.dial("192.0.2.1")
		h.connect("192.0.2.2")
		nc := h.connect("192.0.2.3")
		version := v1Bytes(mainnet, "version", testBytes(100, 1))
		go nc.Write(version)
		v1, err := h.Accept()
		if err != nil || v1.(*Conn).Transport() != "v1" {
			t.Fatalf("got %v, %v", v1, err)
		}
		v1.Close()
		select {
		case <-waiting:
			t.Error("a handshake did without the semaphore")
		default:
		}
		<-semaphore
		v2, err := h.Accept()
		if err != nil || v2.(*Conn).Transport() != "v2" {
			t.Fatalf("got %v, %v", v2, err)
		}
		v2.Close()
		(<-waiting).conn.Close()
		time.Sleep(15 * time.Second)
		if f := h.failures(); len(f) != 1 || !errors.Is(f[0].err, transport.ErrSilent) || f[0].ip != "192.0.2.2" {
			t.Errorf("got %v, want the silent one", f)
		}
	})
}

// When too many handshakes have begun, those of the network that has the most of them make room,
// the oldest first; a peer of another network is not crowded out.
func TestListenerCrowdsOut(t *testing.T) {
	for _, c := range []struct{ attackers, honest string }{
		{"198.51.100.%d", "192.0.2.1"},
		{"2001:db8:1:%d::1", "2001:db8:2::1"},
		{"::ffff:198.51.100.%d", "198.51.101.1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHall(t, func(l *Listener) { l.MaxHandshakes = 4 })
			theirs := h.connect(c.honest) // has not sent anything yet
			attack := func(i int) net.Conn {
				synctest.Wait()
				return h.connect(fmt.Sprintf(c.attackers, i))
			}
			ready := make(chan *Conn)
			go func() {
				nc, err := h.Accept()
				if err != nil {
					t.Error(err)
				}
				ready <- nc.(*Conn)
			}()
			for i := range 3 + 10 {
				attack(i)
			}
			failed := h.failures()
			if len(failed) != 10 {
				t.Errorf("%d were crowded out: %v", len(failed), failed)
			}
			for i, f := range failed {
				want := net.ParseIP(fmt.Sprintf(c.attackers, i)).String()
				if f.ip != want || !errors.Is(f.err, ErrCrowdedOut) {
					t.Errorf("%d: got %s, %v, want %s", i, f.ip, f.err, want)
				}
			}
			peer, err := Client(t.Context(), theirs, transport.Config{Magic: mainnet})
			if err != nil {
				t.Fatal(err)
			}
			ours := <-ready
			checkTalk(t, peer, ours)
			ours.Close()
			peer.Close()
		})
	}
}

// Those that wait for the semaphore are not slow: none is crowded out before its turn.
func TestListenerWaitsForTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		semaphore := make(chan struct{}, 1)
		semaphore <- struct{}{}
		h := newHall(t, func(l *Listener) { l.MaxHandshakes, l.Config.Semaphore = 2, semaphore })
		go h.Accept()
		for range 3 {
			nc := h.connect("192.0.2.1")
			go io.Copy(io.Discard, nc)
			go nc.Write(testBytes(64, 1))
			synctest.Wait()
		}
		if f := h.failures(); len(f) > 0 {
			t.Errorf("got %v", f)
		}
		<-semaphore
		if f := h.failures(); len(f) != 1 || !errors.Is(f[0].err, ErrCrowdedOut) {
			t.Errorf("got %v, want one that was crowded out", f)
		}
	})
}

// Connections that are ready but not accepted count as handshakes. They are not crowded out, and
// if it is them that there are too many of, nothing is: the others wait.
func TestListenerNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, func(l *Listener) { l.MaxHandshakes = 4 })
		silent := h.connect("192.0.2.1")
		var peers []<-chan dialled
		dial := func(last int) {
			peers = append(peers, h.dial(fmt.Sprintf("192.0.2.%d", last)))
			synctest.Wait()
		}
		accept := func(last int) {
			t.Helper()
			nc, err := h.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := nc.RemoteAddr().(*net.TCPAddr).IP.String(), fmt.Sprintf("192.0.2.%d", last); got != want {
				t.Errorf("accepted %s, want %s", got, want)
			}
			nc.Close()
			synctest.Wait()
		}
		dial(2)
		accept(2)
		for last := 3; last <= 7; last++ {
			dial(last)
		}
		if got := len(h.next); got != 1 {
			t.Errorf("%d connections are left to the system, want 1", got)
		}
		for _, p := range peers[4:] {
			select {
			case <-p:
				t.Error("a handshake was done over the limit")
			default:
			}
		}
		for last := 3; last <= 7; last++ {
			accept(last)
		}
		for i, p := range peers {
			if d := <-p; d.err != nil {
				t.Errorf("peer %d: %v", i, d.err)
			} else {
				d.conn.Close()
			}
		}
		if f := h.failures(); len(f) > 0 {
			t.Errorf("got %v", f)
		}
		silent.Close()
	})
}

// Close ends Accept and every connection that it has not returned, and nothing is left running.
// Without Accept, Close has nothing to end.
// A peer that speaks v1, if allowed, comes out as it is, in any chunking.
// CloseWrite ends only one direction of a connection with a peer that speaks v1.
// Close also ends the connection that waits for a place.
