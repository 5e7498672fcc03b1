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

// lateReader returns a deadline's error each time another piece of in was read.
type lateReader struct {
	in    io.Reader
	piece int
	left  int // of the piece
}

func (l *lateReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		l.left = l.piece
		return 0, os.ErrDeadlineExceeded
	}
	n, err := l.in.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// Deadlines within a body lose none of its bytes, and the sum gets each once.
func TestBodyGoesOn(t *testing.T) {
	source := pattern(3*step + 1)
	for where, memory := range memories() {
		for _, n := range bodySizes {
			if n > len(source) {
				continue
			}
			for _, piece := range []int{1, 1000, pageSize, step - 1, step, step + 1} {
				if n > 100 && piece == 1 {
					continue
				}
				r := readerOf(&lateReader{in: bytes.NewReader(append(bytes.Clone(source[:n]), "next"...)), piece: piece})
				r.SetMemory(memory)
				var b Body
				var sum bytes.Buffer
				late := 0
				err := r.ReadBody(&b, 4, n, 16, &sum)
				for ; errors.Is(err, os.ErrDeadlineExceeded); err = r.ReadBody(&b, 4, n, 16, &sum) {
					if late++; !b.Partial() {
						t.Fatalf("%s: %d bytes by %d: not partial after a deadline", where, n, piece)
					}
				}
				if err != nil || b.Partial() || len(b.Bytes) != 4+n+16 || !bytes.Equal(b.Bytes[4:4+n], source[:n]) || !bytes.Equal(sum.Bytes(), source[:n]) {
					t.Fatalf("%s: %d bytes by %d: %v", where, n, piece, err)
				}
				if want := (n + piece - 1) / piece; late != want {
					t.Errorf("%s: %d bytes by %d: %d deadlines, want %d", where, n, piece, late, want)
				}
				b.Release()
			}
		}
		requireUnused(t, memory)
	}
}

// Release and Abandon free what has arrived, whether a call is in progress or not.
func TestPartialBodyFreed(t *testing.T) {
	for name, free := range map[string]func(r *Reader, b *Body){
		"Release": func(_ *Reader, b *Body) { b.Release() },
		"Abandon": func(_ *Reader, b *Body) { b.Abandon() },
		"Abandon during a call": func(r *Reader, b *Body) {
			late := time.Now().Add(time.Minute)
			r.socket.LimitReads(late)
			done := make(chan error)
			go func() { done <- r.ReadBody(b, 0, step, 0, nil) }()
			synctest.Wait()
			b.Abandon()
			if !b.Partial() {
				t.Error("freed while it was read")
			}
			if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, nc := net.Pipe()
				defer a.Close()
				memory := NewMemory(4 * step)
				r := NewReader(nc)
				r.SetMemory(memory)
				r.SetIdle(time.Second)
				go a.Write(pattern(step / 2))
				var b Body
				if err := r.ReadBody(&b, 0, step, 0, nil); !errors.Is(err, os.ErrDeadlineExceeded) || !b.Partial() {
					t.Fatal(err)
				}
				if use := memory.Usage(); use.Taken != step {
					t.Errorf("%+v while partial", use)
				}
				r.SetIdle(time.Hour)
				free(r, &b)
				if b.Partial() || b.Bytes != nil {
					t.Error("still partial")
				}
				requireUnused(t, memory)
				time.Sleep(2 * keepUnused)
			})
		})
	}
}

// BodyTimeout counts over all calls, and ErrSlow ends the body.
func TestSlowBodyWithDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, nc := net.Pipe()
		defer nc.Close()
		r := NewReader(nc)
		r.SetIdle(3 * BodyTimeout)
		go func() {
			for {
				time.Sleep(7 * time.Second)
				if _, err := a.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		var b Body
		err := os.ErrDeadlineExceeded
		for errors.Is(err, os.ErrDeadlineExceeded) {
			r.socket.LimitReads(time.Now().Add(11 * time.Second))
			err = r.ReadBody(&b, 0, 1<<20, 0, nil)
		}
		if err != ErrSlow || time.Since(began) != BodyTimeout || b.Partial() || b.Bytes != nil {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		a.Close()
		time.Sleep(8 * time.Second) // so that the sender sees it
	})
}
