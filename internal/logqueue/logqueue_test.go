package logqueue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is the writer behind a test's queue.
type sink struct {
	mu    sync.Mutex
	text  bytes.Buffer
	calls int
	err   error
	part  int           // bytes written before err
	gate  chan struct{} // if not nil, each write waits for it
}

func (s *sink) Write(p []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		s.text.Write(p[:s.part])
		return s.part, s.err
	}
	return s.text.Write(p)
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sink) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func lost(n uint64) []byte { return fmt.Appendf(nil, "lost %d\n", n) }

// Each line is written by one Write, in order, including those queued at the end.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		q := New(&out, lost)
		want := ""
		line := make([]byte, 0, 100)
		for i := range 1000 {
			line = fmt.Appendf(line[:0], "line %d\n", i) // the caller reuses its buffer
			want += string(line)
			if n, err := q.Write(line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		q.Close(time.Second)
		if out.all() != want || out.calls != 1000 || q.Lost() != 0 {
			t.Errorf("got %d writes, %d lost:\n%s", out.calls, q.Lost(), out.all())
		}
		q.Write([]byte("too late\n"))
		if q.Lost() != 1 {
			t.Error("a line after Close does not count as lost")
		}
	})
}

// While writes block, no caller waits; lines without room are counted and reported in their place.
func TestQueueIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		room int // lines
	}{
		"lines": {"x\n", maxLines},
		"bytes": {strings.Repeat("x", 64<<10-1) + "\n", maxBytes / (64 << 10)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := sink{gate: make(chan struct{})}
				q := New(&out, lost)
				q.Write([]byte("first\n"))
				synctest.Wait() // the write is in progress
				for range c.room + 100 {
					io.WriteString(q, c.line)
				}
				if q.Lost() != 100 {
					t.Errorf("%d lost, want 100", q.Lost())
				}
				for range c.room / 4 { // there is room, but too little to resume
					out.gate <- struct{}{}
				}
				synctest.Wait()
				io.WriteString(q, "lost, too\n")
				for range c.room/4 + 2 {
					out.gate <- struct{}{}
				}
				synctest.Wait()
				io.WriteString(q, "kept\n")
				close(out.gate)
				q.Close(time.Second)
				want := "first\n" + strings.Repeat(c.line, c.room) + "lost 101\nkept\n"
				if got := out.all(); got != want || q.Lost() != 101 {
					t.Errorf("got %d bytes, %d lost; the end is %q", len(got), q.Lost(), got[max(0, len(got)-30):])
				}
			})
		})
	}
}

// Lost lines are reported even if no other line follows.
func TestLostWithoutAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := sink{gate: make(chan struct{})}
		q := New(&out, lost)
		for range maxLines + 10 {
			io.WriteString(q, "x\n")
			synctest.Wait()
		}
		close(out.gate)
		synctest.Wait()
		if !strings.HasSuffix(out.all(), "x\nlost 9\n") {
			t.Errorf("got %q", out.all()[out.text.Len()-20:])
		}
		q.Close(time.Second)
	})
}

// A failed write costs one line; when writes work again, each line is intact.
func TestFailingWrites(t *testing.T) {
	for _, part := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			out := sink{part: part}
			q := New(&out, lost)
			say := func(line string) {
				io.WriteString(q, line+"\n")
				synctest.Wait()
			}
			say("one")
			out.fail(errors.New("broken pipe"))
			say("two is not said")
			say("three neither")
			out.fail(nil)
			say("four")
			say("five")
			q.Close(time.Second)
			want := "one\nlost 2\nfour\nfive\n"
			if part > 0 {
				want = "one\ntwo\nlo\nlost 2\nfour\nfive\n"
			}
			if out.all() != want || q.Lost() != 2 {
				t.Errorf("got %q, %d lost", out.all(), q.Lost())
			}
		})
	}
}

// Lost lines are reported at Close at the latest.
func TestLostAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		q := New(&out, lost)
		out.fail(errors.New("broken pipe"))
		io.WriteString(q, "one\n")
		synctest.Wait()
		out.fail(nil)
		q.Close(time.Second)
		if out.all() != "lost 1\n" {
			t.Errorf("got %q", out.all())
		}
	})
}

// Close waits no longer than its timeout.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := sink{gate: make(chan struct{})}
		q := New(&out, lost)
		io.WriteString(q, "one\n")
		began := time.Now()
		q.Close(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		close(out.gate)
	})
}
