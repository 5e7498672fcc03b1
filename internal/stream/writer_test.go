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

	"bip324proxy/internal/testkit"
)

// recorder is a socket that records each write.
type recorder struct {
	net.Conn
	writes [][]byte
	fail   int // the number of the write that fails, from 1
	err    error
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(p))
	if len(r.writes) == r.fail {
		return len(p) / 2, r.err
	}
	return len(p), nil
}

func (r *recorder) sizes() (n []int) {
	for _, w := range r.writes {
		n = append(n, len(w))
	}
	return n
}

// put appends p as users of Writer do.
func put(t *testing.T, w *Writer, p []byte) {
	t.Helper()
	if err := w.Reserve(len(p)); err != nil {
		t.Fatal(err)
	}
	if cap(w.Buf)-len(w.Buf) < len(p) {
		t.Fatalf("Reserve(%d) left room for %d", len(p), cap(w.Buf)-len(w.Buf))
	}
	w.Buf = append(w.Buf, p...)
}

// holds reports whether the writer has borrowed memory or unsent data.
func holds(w *Writer) bool {
	return w.batch != nil || w.bulk != nil || len(w.Buf) > 0
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestWriterBatches(t *testing.T) {
	source := pattern(4 * BatchSize)
	for _, c := range []struct {
		name  string
		puts  []int
		sizes []int // of the writes, the last one by Flush
	}{
		{"nothing", nil, nil},
		{"one", []int{10}, []int{10}},
		{"many", []int{100, 0, 200, 1}, []int{301}},
		{"the whole batch", []int{BatchSize}, []int{BatchSize}},
		{"full to the brim", []int{BatchSize - 1, 1}, []int{BatchSize}},
		{"one over", []int{BatchSize, 1}, []int{BatchSize, 1}},
		{"does not fit", []int{BatchSize - 10, 11, 5}, []int{BatchSize - 10, 16}},
		{"large ones", []int{BatchSize, BatchSize, BatchSize - 1}, []int{BatchSize, 2*BatchSize - 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &recorder{}
			w := NewWriter(conn)
			at := 0
			for _, n := range c.puts {
				put(t, w, source[at:at+n])
				at += n
			}
			for range 2 { // the second has nothing to write
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if !equalInts(conn.sizes(), c.sizes) || !bytes.Equal(bytes.Join(conn.writes, nil), source[:at]) {
				t.Errorf("writes of %v bytes, want %v", conn.sizes(), c.sizes)
			}
			if holds(w) {
				t.Error("the writer still holds memory")
			}
		})
	}
}

// Gathered data is written before p, and p is not copied.
func TestFlushWith(t *testing.T) {
	conn := &recorder{}
	w := NewWriter(conn)
	big := pattern(100_000)
	for _, step := range []struct {
		gathered, p string
	}{{"", "alone"}, {"gathered", "with"}, {"", string(big)}, {"again", string(big)}} {
		conn.writes = nil
		if step.gathered != "" {
			put(t, w, []byte(step.gathered))
		} else if err := w.Reserve(100); err != nil { // without adding data
			t.Fatal(err)
		}
		if err := w.FlushWith([]byte(step.p)); err != nil {
			t.Fatal(err)
		}
		if got := string(bytes.Join(conn.writes, nil)); got != step.gathered+step.p {
			t.Errorf("wrote %.20q…", got)
		}
		if holds(w) {
			t.Error("the writer still holds memory")
		}
	}
}

// On TCP both parts are written uncopied, in order.
func TestFlushWithTCP(t *testing.T) {
	a, b := testkit.TCPPair(t)
	source := pattern(400_000)
	go func() {
		defer a.Close()
		w := NewWriter(a)
		for at := 0; at < len(source); at += 10_000 {
			if w.Reserve(4_000) == nil {
				w.Buf = append(w.Buf, source[at:at+4_000]...)
			}
			if w.FlushWith(source[at+4_000:at+10_000]) != nil {
				return
			}
		}
	}()
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, source) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// An error stays, and nothing is written or kept in memory after it.
func TestWriterErrorStays(t *testing.T) {
	broken := errors.New("broken")
	fails := map[string]func(w *Writer) error{
		"Flush":                func(w *Writer) error { w.Buf = append(w.Buf, "x"...); return w.Flush() },
		"FlushWith":            func(w *Writer) error { w.Buf = append(w.Buf, "x"...); return w.FlushWith([]byte("y")) },
		"FlushWith on nothing": func(w *Writer) error { return w.FlushWith([]byte("y")) },
		"Reserve": func(w *Writer) error {
			w.Buf = append(w.Buf, "x"...)
			return w.Reserve(BatchSize)
		},
	}
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			conn := &recorder{fail: 1, err: broken}
			w := NewWriter(conn)
			if err := w.Reserve(1); err != nil {
				t.Fatal(err)
			}
			if err := fail(w); err != broken {
				t.Fatal(err)
			}
			written := len(conn.writes)
			for what, err := range map[string]error{
				"Reserve": w.Reserve(1), "Flush": w.Flush(), "FlushWith": w.FlushWith([]byte("z")), "Reserve again": w.Reserve(10),
			} {
				if err != broken {
					t.Errorf("%s: got %v", what, err)
				}
			}
			if len(conn.writes) != written {
				t.Error("the writer wrote after an error")
			}
			if holds(w) {
				t.Error("the writer still holds memory")
			}
		})
	}
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		const limit = time.Minute
		c := &countsDeadlines{Conn: a}
		w := NewWriter(c)
		w.SetStall(limit)
		go io.CopyN(io.Discard, b, 1000)
		for range 1000 {
			put(t, w, []byte("x"))
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if c.writes != 1 {
			t.Errorf("%d deadlines set without time passing", c.writes)
		}
		time.Sleep(2 * limit) // an old deadline has no effect
		go io.CopyN(io.Discard, b, 1)
		if err := w.FlushWith([]byte("y")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		put(t, w, []byte("z"))
		err := w.FlushWith([]byte("z"))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < limit*7/8 || took > limit {
			t.Errorf("got %v after %v", err, took)
		}
		if holds(w) {
			t.Error("the writer still holds memory")
		}
	})
}

func TestWriterAllocations(t *testing.T) {
	w := NewWriter(discard{})
	p := make([]byte, 1000)
	if got := testing.AllocsPerRun(200, func() {
		for range 50 {
			if w.Reserve(len(p)) == nil {
				w.Buf = append(w.Buf, p...)
			}
		}
		w.Flush()
		w.FlushWith(p)
	}); got > 10 { // the race detector makes pools drop items; without it there are none
		t.Errorf("%v allocations", got)
	}
}

type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// A socket that takes less than it was given, without an error, is not written to any more: the
// peer's stream lacks the rest.
func TestWriterShortWrite(t *testing.T) {
	conn := &recorder{fail: 1}
	w := NewWriter(conn)
	put(t, w, []byte("four"))
	if err := w.Flush(); err != io.ErrShortWrite {
		t.Errorf("got %v, want %v", err, io.ErrShortWrite)
	}
	if err := w.FlushWith([]byte("more")); err != io.ErrShortWrite || len(conn.writes) != 1 {
		t.Errorf("then: got %v after %d writes", err, len(conn.writes))
	}
}
