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

// After LimitCalls the user's deadline ends only the writes that a call of the user waits for, and the
// others go on; the deadline of the stage counts always.
func TestLimitCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		s := NewSocket(b)
		write := func() error { _, err := s.Write([]byte("x")); return err }
		take := func() { io.ReadFull(a, make([]byte, 1)) }
		expect := func(failed chan error, late bool) {
			t.Helper()
			if err := <-failed; errors.Is(err, os.ErrDeadlineExceeded) != late || !late && err != nil {
				t.Errorf("got %v; must be late: %v", err, late)
			}
		}

		s.LimitWrites(time.Now().Add(-time.Second))
		s.LimitCalls()
		if s.writes.passed() {
			t.Error("the deadline has passed without a call")
		}
		failed := blocked(t, write)
		time.Sleep(time.Minute)
		take()
		expect(failed, false)

		failed = blocked(t, write)
		s.BeginCall() // waits for that write
		expect(failed, true)
		if !s.writes.passed() {
			t.Error("the deadline has not passed during a call")
		}
		s.BeginCall()
		s.EndCall()
		expect(blockedOrNot(write), true)
		s.EndCall()

		failed = blocked(t, write)
		s.LimitWrites(time.Now().Add(time.Second)) // another one
		time.Sleep(time.Minute)
		take()
		expect(failed, false)

		s.BeginCall()
		s.LimitWrites(time.Now().Add(time.Second))
		failed = blocked(t, write)
		time.Sleep(2 * time.Second)
		expect(failed, true)
		s.EndCall()

		s.SetWriteDeadline(time.Now().Add(time.Second))
		failed = blocked(t, write)
		time.Sleep(2 * time.Second)
		expect(failed, true)
	})
}

func blockedOrNot(call func() error) chan error {
	failed := make(chan error, 1)
	failed <- call()
	return failed
}

// AwaitLimit says what the deadline is and when it changes.
func TestAwaitLimit(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := NewSocket(b)
	limit, changed := s.AwaitLimit()
	if !limit.IsZero() {
		t.Errorf("got %v before", limit)
	}
	want := time.Now().Add(time.Hour)
	s.LimitWrites(want)
	<-changed
	if limit, _ := s.AwaitLimit(); !limit.Equal(want) {
		t.Errorf("got %v, want %v", limit, want)
	}
}
