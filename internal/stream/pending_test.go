package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// fitsConn is a socket that takes what fits and then fails as if a deadline had passed.
type fitsConn struct {
	net.Conn
	fits int
	got  bytes.Buffer
}

func (c *fitsConn) SetWriteDeadline(time.Time) error { return nil }

func (c *fitsConn) Write(p []byte) (int, error) {
	n := min(len(p), c.fits)
	c.got.Write(p[:n])
	if c.fits -= n; n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

// Whatever part of a write fits before the user's deadline, the rest is sent before anything else,
// and what was not accepted is not sent.
func TestWriterGoesOn(t *testing.T) {
	gathered, large := pattern(300), pattern(700)
	for name, write := range map[string]func(w *Writer) error{
		"Flush": (*Writer).Flush,
		"FlushWith": func(w *Writer) error {
			if err := w.Ready(); err != nil {
				return err
			}
			return w.FlushWith(large)
		},
		"FlushWith, gathered": func(w *Writer) error { return w.FlushWith(large) },
		"Flush and Send parts": func(w *Writer) error {
			if err := w.Ready(); err != nil {
				return err
			}
			return w.Send(large[:300], large[300:301], large[301:])
		},
		"Reserve": func(w *Writer) error { return w.Reserve(BatchSize) },
	} {
		for fits := range len(gathered) + len(large) {
			for _, more := range []int{0, 1, 100} {
				conn := &fitsConn{fits: fits}
				w := NewWriter(conn)
				w.socket.LimitWrites(time.Now().Add(time.Hour))
				put(t, w, gathered)
				want := bytes.Clone(gathered)
				err := write(w)
				if name[:5] == "Flush" && len(name) > 5 && (err == nil || fits >= len(gathered)) {
					want = append(want, large...)
				}
				if (err != nil) != (fits < len(want)) || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("%s: %d fit: %v", name, fits, err)
				}
				if w.Pending() != (err != nil) || len(w.Buf) > 0 {
					t.Fatalf("%s: %d fit: pending: %v", name, fits, w.Pending())
				}
				for w.Pending() { // others accept nothing meanwhile
					if err := w.Reserve(1); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("%s: %d fit: Reserve: %v", name, fits, err)
					}
					if err := w.FlushWith(large); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("%s: %d fit: FlushWith: %v", name, fits, err)
					}
					if conn.fits = more; more == 0 {
						conn.fits = 1 << 20
					}
					if err := w.Flush(); (err == nil) == w.Pending() {
						t.Fatalf("%s: %d fit: Flush: %v", name, fits, err)
					}
				}
				conn.fits = 1 << 20
				put(t, w, []byte("next"))
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(conn.got.Bytes(), append(want, "next"...)) {
					t.Fatalf("%s: %d fit: other bytes were sent", name, fits)
				}
				if holds(w) {
					t.Fatal("the writer still holds memory")
				}
			}
		}
	}
}

// Once the user's deadline has passed a writer accepts nothing, even if the socket would.
func TestWriterAfterLimit(t *testing.T) {
	conn := &fitsConn{fits: 100}
	w := NewWriter(conn)
	w.socket.LimitWrites(past)
	for range 2 {
		if err := w.Reserve(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if err := w.Ready(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
	w.socket.LimitWrites(time.Time{})
	put(t, w, []byte("x"))
	if err := w.Flush(); err != nil || conn.got.String() != "x" {
		t.Errorf("sent %q, %v", conn.got.String(), err)
	}
}

// A stall is final, and a user who asks again and again does not put it off.
func TestStallWithLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		const stall = 80 * time.Second
		w := NewWriter(a)
		w.SetStall(stall)
		began := time.Now()
		limit := func(d time.Duration) { w.socket.LimitWrites(time.Now().Add(d)) }
		limit(10 * time.Second)
		put(t, w, []byte("four"))
		err := w.Flush()
		for ; w.Pending(); err = w.Flush() {
			limit(10 * time.Second)
		}
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != stall {
			t.Errorf("got %v after %v", err, took)
		}
		limit(time.Hour)
		if again := w.Flush(); again != ErrStalled || again != w.Reserve(1) { // which nobody takes for a deadline
			t.Errorf("then %v", again)
		}
	})
	synctest.Test(t, func(t *testing.T) { // progress does
		a, b := net.Pipe()
		defer b.Close()
		w := NewWriter(a)
		w.SetStall(80 * time.Second)
		put(t, w, pattern(10))
		for n := range 10 {
			w.socket.LimitWrites(time.Now().Add(60 * time.Second))
			go io.ReadFull(b, make([]byte, 1))
			if err := w.Flush(); (err == nil) != (n == 9) || w.Pending() != (n < 9) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	})
}
