package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/stream"
)

// fitsConn takes what fits of a write and then fails as if a deadline had passed.
type fitsConn struct {
	net.Conn
	fits int // negative: everything
	sent bytes.Buffer
}

func (c *fitsConn) SetWriteDeadline(time.Time) error { return nil }

func (c *fitsConn) Write(p []byte) (int, error) {
	n := len(p)
	if c.fits >= 0 {
		n = min(n, c.fits)
		c.fits -= n
	}
	c.sent.Write(p[:n])
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

// Whatever part of a packet fits before a deadline, each way to send it says truthfully whether it
// will arrive, and what arrives is whole.
func TestWriteGoesOn(t *testing.T) {
	for _, n := range []int{0, 30, 16_385, 20_000, 300_000} {
		contents := testBytes(n, 1)
		for name, send := range map[string]func(c *Conn) error{
			"WritePacket": func(c *Conn) error { return c.WritePacket(contents) },
			"Queue and Flush": func(c *Conn) error {
				if err := c.Queue(contents[:n/3], contents[n/3:]); err != nil {
					return err
				}
				return c.Flush()
			},
			"WriteInPlace": func(c *Conn) error {
				b := make([]byte, Headroom+n+Tailroom)
				copy(b[Headroom:], contents)
				err := c.WriteInPlace(b)
				clear(b) // it is the caller's
				return err
			},
		} {
			step := max(1, n/97)
			for fits := 0; fits < 2*packetSize(n); fits += step {
				conn := &fitsConn{fits: fits}
				s, _, _, o := ciphers(t)
				socket := stream.NewSocket(conn)
				client := &Conn{socket: socket, out: sending{w: stream.NewWriter(socket), ciphers: s}}
				client.SetWriteDeadline(time.Now().Add(time.Hour))
				var want []string
				for range 3 { // of which at most one is pending
					var pending *PendingError
					switch err := send(client); {
					case err == nil || errors.As(err, &pending) && errors.Is(err, os.ErrDeadlineExceeded) && pending.Timeout():
						want = append(want, string(contents))
					case !errors.Is(err, os.ErrDeadlineExceeded):
						t.Fatalf("%s: %d bytes, %d fit: %v", name, n, fits, err)
					}
				}
				if len(want) > 0 && fits == 0 && len(want) != 1 {
					t.Fatalf("%s: %d bytes: %d packets were accepted while none could be sent", name, n, len(want))
				}
				conn.fits = 3
				client.Flush() // perhaps in vain
				conn.fits = -1
				if err := client.WritePacket([]byte("last")); err != nil {
					t.Fatal(err)
				}
				want = append(want, "last")
				server := receiverOf(&conn.sent, o)
				for i, want := range want {
					if got, err := server.ReadPacket(); err != nil || string(got) != want {
						t.Fatalf("%s: %d bytes, %d fit: packet %d: got %d bytes, %v", name, n, fits, i, len(got), err)
					}
				}
				if _, err := server.ReadPacket(); err != io.EOF {
					t.Fatalf("%s: %d bytes, %d fit: then %v", name, n, fits, err)
				}
			}
		}
	}
}

// A deadline ends a write in progress, and CloseWrite too, which can be repeated.
func TestWriteDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
		wait := func(want time.Duration, call func() error, pends bool) {
			t.Helper()
			began := time.Now()
			err := call()
			var pending *PendingError
			if !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &pending) != pends || time.Since(began) != want {
				t.Errorf("%v after %v, want %v", err, time.Since(began), want)
			}
			if e, ok := err.(net.Error); !ok || !e.Timeout() {
				t.Errorf("%T does not say that it is a timeout", err)
			}
		}
		write := func(s string) func() error { return func() error { return client.WritePacket([]byte(s)) } }
		client.SetWriteDeadline(time.Now())
		wait(0, write("not accepted"), false)
		client.SetWriteDeadline(time.Now().Add(3 * time.Second))
		wait(3*time.Second, write("accepted"), true)
		wait(0, write("not accepted"), false)
		client.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { client.SetWriteDeadline(time.Now().Add(time.Second)) })
		wait(2*time.Second, client.Flush, true)
		wait(0, client.CloseWrite, true)
		client.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() { done <- errors.Join(write("later")(), client.CloseWrite()) }()
		for _, want := range []string{"accepted", "later"} {
			if got, err := server.ReadPacket(); err != nil || string(got) != want {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if _, err := server.ReadPacket(); err != io.EOF {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Without a deadline of the user's, WriteTimeout ends the connection's writes.
func TestWriteTimeoutIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		const timeout = 80 * time.Second
		client, _ := connPair(t, a, b, Config{Magic: mainnet, WriteTimeout: timeout}, Config{Magic: mainnet})
		began := time.Now()
		err := client.WritePacket([]byte("x"))
		var pending *PendingError
		if !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &pending) || time.Since(began) > timeout || time.Since(began) < timeout*7/8 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		for what, again := range map[string]error{"WritePacket": client.WritePacket(nil), "Queue": client.Queue(nil), "CloseWrite": client.CloseWrite()} {
			if again != ErrStalled { // which nobody takes for a deadline
				t.Errorf("%s: then %v", what, again)
			}
		}
	})
}
