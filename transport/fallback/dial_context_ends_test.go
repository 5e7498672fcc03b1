package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// A program may give up at any time, by the context or by closing the connection. Nothing is left
// open then, and nothing dialled.
func TestDialContextGivenUp(t *testing.T) {
	errLeft := errors.New("the user left")
	blocks := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, context.Cause(ctx) }
	for _, c := range []struct {
		name  string
		peers []pipePeer
		dials int // a further one blocks until it is given up
		at    time.Duration
		tried int
	}{
		{"connecting", []pipePeer{saysNothing}, 0, time.Second, 1},
		{"in the handshake", []pipePeer{saysNothing}, 1, time.Second, 1},
		{"before the retry", []pipePeer{hangsUpAfter(0)}, 1, 500 * time.Millisecond, 1},
		{"connecting for the retry", []pipePeer{hangsUpAfter(0)}, 1, 2500 * time.Millisecond, 2},
		{"in the retry", []pipePeer{hangsUpAfter(0), saysNothing}, 2, 2500 * time.Millisecond, 2},
		{"connecting for v1", []pipePeer{saysNothing}, 1, 4 * time.Second, 2},
	} {
		for _, named := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				wire := &pipes{peers: c.peers}
				tried := 0
				d := &Dialer{Mode: Always, Peers: new(Peers), Direct: true, Config: transport.Config{Garbage: []byte{}},
					Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						if tried++; tried > c.dials {
							return blocks(ctx)
						}
						return wire.dial(ctx, network, addr)
					}}
				begin := time.Now()
				want := errLeft
				if named {
					d.Config.Magic = mainnet
				}
				time.AfterFunc(c.at, func() { cancel(errLeft) })
				conn, err := d.DialContext(ctx, "tcp", addrA)
				if err == nil { // the network is learnt, so ctx has no effect any more
					cancel(nil)
					want = net.ErrClosed
					time.AfterFunc(c.at, func() { conn.Close() })
					_, err = conn.Write(ourVersion)
				}
				if took := time.Since(begin); took != c.at || !errors.Is(err, want) {
					t.Errorf("%s, named: %v: after %v got %v, want %v", c.name, named, took, err, want)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if tried != c.tried {
					t.Errorf("%s, named: %v: dialled %d times, want %d", c.name, named, tried, c.tried)
				}
			})
		}
	}
}

// A connection that is closed before anything was written has sent nothing.
func TestDialContextUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := &pipes{peers: []pipePeer{func(nc net.Conn) {
			if n, _ := io.Copy(io.Discard, nc); n > 0 {
				t.Errorf("the peer was sent %d bytes", n)
			}
		}}}
		conn, err := (&Dialer{Mode: Always, Peers: new(Peers), Dial: wire.dial}).DialContext(t.Context(), "tcp", addrA)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		conn.Close()
		if len(wire.dialled) != 1 {
			t.Errorf("dialled %v", wire.dialled)
		}
	})
}

// A deadline that passes during the handshake ends a call, and not the handshake: the program may
// set another, or close the connection.
func TestDialContextDeadline(t *testing.T) {
	for _, closes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			wire := &pipes{peers: []pipePeer{saysNothing, nodeV1(t, theirVersion)}}
			d := &Dialer{Mode: Always, Peers: new(Peers), Dial: wire.dial, Direct: true}
			conn, err := d.DialContext(t.Context(), "tcp", addrA)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begin := time.Now()
			conn.SetDeadline(begin.Add(time.Second))
			n, err := conn.Write(ourVersion)
			if n != len(ourVersion) || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Second {
				t.Errorf("after %v wrote %d bytes, %v", time.Since(begin), n, err)
			}
			if closes {
				conn.Close()
				time.Sleep(time.Hour)
				synctest.Wait()
				if len(wire.dialled) != 1 {
					t.Errorf("after Close, dialled %v", wire.dialled)
				}
				return
			}
			conn.SetDeadline(begin.Add(10 * time.Second))
			got := make([]byte, len(theirVersion))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != string(theirVersion) || time.Since(begin) != 3*time.Second {
				t.Errorf("after %v read %x, %v", time.Since(begin), got, err)
			}
		})
	}
}

// Connecting and the handshake have limits also without a context that ends, longer ones through a
// proxy. After our own limit nothing is said about the peer, so v1 is not spoken.
func TestDialContextLimits(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       Dialer
		connect bool // connecting hangs, not the handshake
		after   time.Duration
	}{
		{"connecting", Dialer{Direct: true}, true, 5 * time.Second},
		{"connecting through a proxy", Dialer{}, true, time.Minute},
		{"connecting, set", Dialer{DialTimeout: 7 * time.Second}, true, 7 * time.Second},
		{"handshake", Dialer{Direct: true}, false, time.Minute},
		{"handshake through a proxy", Dialer{}, false, time.Minute},
		{"handshake, set", Dialer{Mode: Always, HandshakeTimeout: 2 * time.Second}, false, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			wire := &pipes{peers: []pipePeer{saysNothing}}
			d := c.d
			d.Config = transport.Config{Magic: mainnet}
			d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if c.connect {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return wire.dial(ctx, network, addr)
			}
			begin := time.Now()
			_, err := d.DialContext(context.Background(), "tcp", addrA)
			if took := time.Since(begin); took != c.after || !errors.Is(err, context.DeadlineExceeded) || len(wire.dialled) > 1 {
				t.Errorf("%s: after %v got %v, dialled %v", c.name, took, err, wire.dialled)
			}
		})
	}
}
