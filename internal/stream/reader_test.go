package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func readByte(r *Reader) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// Every read times out after the idle time, give or take the eighth by which deadlines move; a byte
// in time restarts it.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		const idle = 80 * time.Second
		r := NewReader(b)
		r.SetIdle(idle)
		go func() {
			for range 20 {
				time.Sleep(idle / 2)
				a.Write([]byte("x"))
			}
		}()
		begin := time.Now()
		for range 20 {
			if _, err := readByte(r); err != nil {
				t.Fatalf("after %v: %v", time.Since(begin), err)
			}
		}
		for range 2 { // a later read waits again
			begin = time.Now()
			_, err := readByte(r)
			if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < idle*7/8 || took > idle {
				t.Fatalf("got %v after %v", err, took)
			}
		}
		if r.socket.Interrupted() {
			t.Error("Interrupted is true without an interrupt")
		}
		go a.Write([]byte("y"))
		if c, err := readByte(r); err != nil || c != 'y' {
			t.Errorf("got %q, %v", c, err)
		}
	})
}

// With many small reads in a row the deadline stays ahead, though it is seldom moved.
func TestIdleMovesInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := &countsDeadlines{Conn: b}
		const idle = 80 * time.Second
		r := NewReader(c)
		r.SetIdle(idle)
		go func() {
			for range 1000 {
				time.Sleep(time.Second)
				a.Write([]byte("x"))
			}
		}()
		begin := time.Now()
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
		if c.reads < 90 || c.reads > 110 {
			t.Errorf("the deadline was set %d times in a thousand seconds of steps of ten", c.reads)
		}
	})
}

// countsDeadlines counts the calls that set its deadlines.
type countsDeadlines struct {
	net.Conn
	reads, writes int
}

func (c *countsDeadlines) SetReadDeadline(t time.Time) error {
	c.reads++
	return c.Conn.SetReadDeadline(t)
}

func (c *countsDeadlines) SetWriteDeadline(t time.Time) error {
	c.writes++
	return c.Conn.SetWriteDeadline(t)
}

// Without an idle time the Reader does not set the socket's deadlines.
func TestNoIdle(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	c := &countsDeadlines{Conn: b}
	r := NewReader(c)
	r.SetIdle(time.Hour)
	r.SetIdle(0)
	go a.Write([]byte("x"))
	if _, err := readByte(r); err != nil || c.reads != 0 {
		t.Errorf("%d deadlines set, want none; %v", c.reads, err)
	}
}

// An interrupt ends the waiting read and all later ones; buffered data can still be read.
func TestInterrupt(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			r := NewReader(b)
			r.SetIdle(idle)
			go a.Write([]byte("buffered"))
			if c, err := readByte(r); c != 'b' || err != nil {
				t.Fatal(err)
			}
			failed := make(chan error)
			go func() {
				_, err := r.Peek(8)
				failed <- err
			}()
			synctest.Wait() // it waits for an eighth byte
			r.Interrupt()
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || !r.socket.Interrupted() {
				t.Errorf("waiting: %v", err)
			}
			if rest, err := r.Peek(7); string(rest) != "uffered" || err != nil {
				t.Errorf("buffered: got %q, %v", rest, err)
			}
			r.Discard(7)
			r.SetIdle(idle + 1)
			for range 3 {
				if _, err := readByte(r); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
}

// gate lets a test stop a Reader just before it sets its deadline.
type gate struct {
	net.Conn
	mu   sync.Mutex
	wait func() // called before the next deadline that is not in the past
}

func (g *gate) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	wait := g.wait
	if !t.Equal(past) {
		g.wait = nil
	} else {
		wait = nil
	}
	g.mu.Unlock()
	if wait != nil {
		wait()
	}
	return g.Conn.SetReadDeadline(t)
}

// An interrupt just before the Reader sets a new deadline must not be undone by that.
func TestInterruptBeforeDeadline(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	g := &gate{Conn: b}
	r := NewReader(g)
	g.wait = r.Interrupt
	r.SetIdle(time.Hour)
	if _, err := readByte(r); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// The same for an interrupt at any time.
func TestInterruptRace(t *testing.T) {
	for range 2000 {
		a, b := net.Pipe()
		r := NewReader(b)
		r.SetIdle(time.Hour)
		go r.Interrupt()
		if _, err := readByte(r); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		a.Close()
	}
}

// Data that one stage has read ahead is available to the next.
func TestReadAhead(t *testing.T) {
	a, b := net.Pipe()
	r := NewReader(b)
	go func() {
		a.Write(bytes.Repeat([]byte("x"), 100))
		a.Close()
	}()
	if _, err := readByte(r); err != nil || r.Buffered() != 99 || r.Size() != bufferSize {
		t.Fatalf("%d buffered, %v", r.Buffered(), err)
	}
	r.Discard(99)
	if _, err := readByte(r); err != io.EOF {
		t.Error(err)
	}
}

// Data passed to Unread comes first.
func TestReaderUnread(t *testing.T) {
	for _, n := range []int{0, 1, idleSize, idleSize + 1, bufferSize} {
		nc, far := net.Pipe()
		go far.Write([]byte("behind"))
		r := NewReader(nc)
		want := noise(n)
		r.Unread(want)
		if r.Buffered() != n {
			t.Errorf("%d buffered, want %d", r.Buffered(), n)
		}
		got := make([]byte, n+len("behind"))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != string(want)+"behind" {
			t.Errorf("%d: got %v", n, err)
		}
		nc.Close()
		far.Close()
	}
}
