package v1v2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// Handshake decides without a message. What was written of the first one before goes on.
func TestHandshakeFirst(t *testing.T) {
	verack := v1Bytes(mainnet, "verack", nil)
	stream := append(bytes.Clone(versionMessage), verack...)
	for _, protocol := range []string{"v1", "v2"} {
		for _, written := range []int{0, 1, 23, 24, 25, 60, 123} {
			t.Run(protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := net.Pipe()
					decide := speakV2(a)
					if protocol == "v1" {
						decide = speakV1(a)
					}
					conn := Later(a, decide)
					defer conn.Close()
					if _, err := conn.Write(stream[:written]); err != nil {
						t.Fatal(err)
					}
					go func() {
						if err := conn.Handshake(context.Background(), mainnet); err != nil {
							t.Error(err)
						}
						if got := conn.Transport(); got != protocol {
							t.Errorf("got %q, want %q", got, protocol)
						}
						if err := conn.Handshake(context.Background(), mainnet); err != errBegun {
							t.Errorf("again: got %v, want %v", err, errBegun)
						}
						_, err := conn.Write(stream[written:])
						if err := errors.Join(err, conn.CloseWrite()); err != nil {
							t.Error(err)
						}
					}()
					if got := readAll(t, protocol, mainnet, b); !bytes.Equal(got, stream) {
						t.Errorf("after %d bytes: the peer got %x, want %x", written, got, stream)
					}
				})
			})
		}
	}
}

// The magic of Handshake binds what is written to a v2 peer.
func TestHandshakeOtherMagic(t *testing.T) {
	a, b := socketPairs["TCP"](t)
	conn := Later(a, speakV2(a))
	defer conn.Close()
	answered := make(chan *Conn)
	go func() {
		server, err := Server(context.Background(), b, transport.Config{Magic: mainnet})
		if err != nil {
			t.Error(err)
		}
		answered <- server
	}()
	if err := conn.Handshake(context.Background(), mainnet); err != nil {
		t.Fatal(err)
	}
	server := <-answered
	defer server.Close()
	id, ok := conn.SessionID()
	if other, _ := server.SessionID(); !ok || id != other {
		t.Errorf("session id %x (%v), and %x at the other end", id, ok, other)
	}
	if n, err := conn.Write(v1Bytes([4]byte{1, 2, 3, 4}, "version", nil)); n != 0 || !isMagic(err) {
		t.Errorf("got %d, %v", n, err)
	}
}

// The context of Handshake limits the decision, and not the connection. The one that decide gets
// ends with the connection.
func TestHandshakeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		conn := Later(a, speakV2(a))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		go io.Copy(io.Discard, b) // never answers
		began := time.Now()
		if err := conn.Handshake(ctx, mainnet); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Read: got %v, want the same", err)
		}
		if _, err := b.Write([]byte{1}); err != io.ErrClosedPipe {
			t.Errorf("the connection is not closed: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("Close: got %v", err)
		}
	})
	// A context that ends when decide has returned a connection: that is closed.
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		ctx, cancel := context.WithCancelCause(context.Background())
		conn := Later(a, func(context.Context, [4]byte, []byte) (*transport.Conn, net.Conn, error) {
			cancel(new(testError))
			return nil, a, nil
		})
		defer conn.Close()
		var want *testError
		if err := conn.Handshake(ctx, mainnet); !errors.As(err, &want) {
			t.Errorf("got %v, want the context's cause", err)
		}
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection is not closed: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
		var own context.Context
		conn := Later(a, func(ctx context.Context, _ [4]byte, _ []byte) (*transport.Conn, net.Conn, error) {
			own = ctx
			return nil, a, nil
		})
		if err := conn.Handshake(ctx, mainnet); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if own.Err() != nil || own.Value(key{}) != "value" {
			t.Errorf("the context has ended with Handshake's: %v", own.Err())
		}
		go conn.Write([]byte("raw"))
		if _, err := io.ReadFull(b, make([]byte, 3)); err != nil {
			t.Error(err)
		}
		conn.Close()
		if cause := context.Cause(own); cause != net.ErrClosed {
			t.Errorf("after Close the context's cause is %v", cause)
		}
	})
}

// Handshake is too late once the first message was written.
func TestHandshakeTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		conn := Later(a, speakV1(a))
		defer conn.Close()
		go conn.Write(versionMessage)
		synctest.Wait()
		if err := conn.Handshake(context.Background(), mainnet); err != errBegun {
			t.Errorf("got %v, want %v", err, errBegun)
		}
		b.Close()
	})
}

// The addresses are those of the connection that was decided on.
func TestAddresses(t *testing.T) {
	a, _ := socketPairs["TCP"](t)
	other, _ := socketPairs["TCP"](t)
	conn := Later(a, speakV1(other))
	defer conn.Close()
	check := func(want net.Conn) {
		t.Helper()
		if conn.NetConn() != want || conn.LocalAddr() != want.LocalAddr() || conn.RemoteAddr() != want.RemoteAddr() {
			t.Errorf("got %v and %v, want %v and %v", conn.LocalAddr(), conn.RemoteAddr(), want.LocalAddr(), want.RemoteAddr())
		}
	}
	check(a)
	if err := conn.Handshake(context.Background(), mainnet); err != nil {
		t.Fatal(err)
	}
	check(other)
}
