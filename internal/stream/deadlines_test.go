package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// blocked starts one call on a Socket that blocks, and returns a channel with its error.
func blocked(t *testing.T, call func() error) chan error {
	t.Helper()
	failed := make(chan error, 1)
	go func() { failed <- call() }()
	synctest.Wait()
	select {
	case err := <-failed:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	return failed
}

// A direction's earlier deadline counts, whichever was set last, and each takes effect on the call
// in progress.
func TestSocketDeadlines(t *testing.T) {
	for _, d := range []struct {
		name       string
		call       func(s *Socket) error
		own, limit func(s *Socket, t time.Time) error
	}{
		{"reads", func(s *Socket) error { return readOnce(s) }, (*Socket).SetReadDeadline, (*Socket).LimitReads},
		{"writes", func(s *Socket) error { _, err := s.Write([]byte("x")); return err }, (*Socket).SetWriteDeadline, (*Socket).LimitWrites},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			s := NewSocket(b)
			after := func(n int) time.Time { return time.Now().Add(time.Duration(n) * time.Second) }
			for _, c := range []struct{ own, limit, then, want int }{ // 0 for none; then is a limit set while it waits
				{0, 0, 3, 3}, {5, 0, 3, 3}, {5, 0, 9, 5}, {0, 5, 3, 3}, {0, 5, 9, 9}, {5, 9, 7, 5}, {5, 9, 0, 5}, {9, 5, 0, 9}, {9, 5, 7, 7}, {0, 5, -1, 1},
			} {
				set := func(which func(*Socket, time.Time) error, n int) {
					until := time.Time{}
					if n != 0 {
						until = after(n)
					}
					if err := which(s, until); err != nil {
						t.Error(err)
					}
				}
				set(d.own, c.own)
				set(d.limit, c.limit)
				began := time.Now()
				failed := blocked(t, func() error { return d.call(s) })
				time.Sleep(time.Second)
				if c.then > 0 {
					c.then--
				}
				if c.then != 0 || c.limit != 0 {
					set(d.limit, c.then)
				}
				if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Duration(c.want)*time.Second {
					t.Errorf("%s: %+v: %v after %v", d.name, c, err, time.Since(began))
				}
			}
			d.own(s, time.Time{})
			d.limit(s, time.Time{})
			failed := blocked(t, func() error { return d.call(s) })
			go func() { // and without either it waits for the other side
				if d.name == "reads" {
					a.Write([]byte("y"))
				} else {
					io.ReadFull(a, make([]byte, 1))
				}
			}()
			if err := <-failed; err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
		})
	}
}

// The user's deadline does not lose, and is not lost to, a Reader's.
func TestReaderWithLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		r := NewReader(b)
		r.SetIdle(8 * time.Second)
		wait := func(limit, want time.Duration) {
			t.Helper()
			until := time.Time{}
			if limit != 0 {
				until = time.Now().Add(limit)
			}
			r.socket.LimitReads(until)
			began := time.Now()
			if _, err := readByte(r); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > want || time.Since(began) < want*7/8 {
				t.Errorf("limit %v: %v after %v", limit, err, time.Since(began))
			}
		}
		wait(0, 8*time.Second)
		wait(3*time.Second, 3*time.Second)
		wait(-1, 0)
		wait(20*time.Second, 8*time.Second)
		wait(0, 8*time.Second)
		r.Interrupt()
		wait(20*time.Second, 0)
	})
}

// A wait for memory ends with the user's deadline, also one set meanwhile, or when the socket is
// closed, and leaves nothing behind.
func TestMemoryWaitWithLimit(t *testing.T) {
	const size = 2 * bufferSize
	for name, c := range map[string]struct {
		meanwhile func(s *Socket)
		want      error
		took      time.Duration
	}{
		"set before":    {func(s *Socket) {}, os.ErrDeadlineExceeded, 30 * time.Second},
		"sooner":        {func(s *Socket) { s.LimitReads(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded, 11 * time.Second},
		"later":         {func(s *Socket) { s.LimitReads(time.Now().Add(time.Minute)) }, os.ErrDeadlineExceeded, 70 * time.Second},
		"past":          {func(s *Socket) { s.LimitReads(past) }, os.ErrDeadlineExceeded, 10 * time.Second},
		"none":          {func(s *Socket) { s.LimitReads(time.Time{}) }, ErrMemory, BodyTimeout},
		"after the end": {func(s *Socket) { s.LimitReads(time.Now().Add(time.Hour)) }, ErrMemory, BodyTimeout},
		"interrupted":   {(*Socket).Interrupt, ErrMemory, 10 * time.Second},
		"closed":        {func(s *Socket) { s.Close() }, net.ErrClosed, 10 * time.Second},
		"both":          {func(s *Socket) { s.Interrupt(); s.Close() }, ErrMemory, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				defer a.Close()
				m := NewMemory(2 * size)
				held, err := m.take(size+pageSize, time.Now(), nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				r := NewReader(b)
				r.SetMemory(m)
				r.socket.LimitReads(time.Now().Add(30 * time.Second))
				began := time.Now()
				var body Body
				failed := blocked(t, func() error { return r.ReadBody(&body, 0, size, 0, nil) })
				time.Sleep(10 * time.Second)
				c.meanwhile(r.socket)
				if err := <-failed; !errors.Is(err, c.want) || time.Since(began) != c.took {
					t.Fatalf("got %v after %v", err, time.Since(began))
				}
				if resumes := errors.Is(c.want, os.ErrDeadlineExceeded); body.Partial() != resumes {
					t.Errorf("partial: %v", body.Partial())
				} else if resumes { // with the time that is left
					r.socket.LimitReads(time.Time{})
					err := r.ReadBody(&body, 0, size, 0, nil)
					if err != ErrMemory || time.Since(began) != BodyTimeout {
						t.Errorf("then %v after %v", err, time.Since(began))
					}
				}
				m.put(held)
				requireUnused(t, m)
				time.Sleep(2 * keepUnused)
			})
		})
	}
}
