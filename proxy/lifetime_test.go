package proxy

import (
	"errors"
	"net"
	"testing"
	"time"

	"bip324proxy/internal/stream"
)

// What a lifetime comes to own after its end is ended as well, and callbacks run once.
func TestLifetime(t *testing.T) {
	cause := errors.New("the cause")
	for name, test := range map[string]struct {
		end         func(*lifetime)
		interrupted bool
		own         error
		cause       error
	}{
		"interrupted": {(*lifetime).interrupt, true, nil, nil},
		"closed":      {(*lifetime).close, false, net.ErrClosed, nil},
		"failed":      {func(l *lifetime) { l.fail(cause); l.fail(errStopping) }, false, net.ErrClosed, cause},
		"both":        {func(l *lifetime) { l.interrupt(); l.close() }, true, net.ErrClosed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var l lifetime
			ends := 0
			count := func() { ends++ }
			before, after := socket(t), socket(t)
			if err := l.own(before); err != nil {
				t.Fatal(err)
			}
			l.onEnd(count)
			test.end(&l)
			if ends != 1 || !before.Interrupted() {
				t.Errorf("%d callbacks, want 1; interrupted: %v", ends, before.Interrupted())
			}
			if err := l.own(after); err != test.own {
				t.Errorf("own: got %v, want %v", err, test.own)
			}
			if _, err := after.Read(make([]byte, 1)); err == nil {
				t.Error("a socket owned later can still be read")
			}
			if l.onEnd(count); ends != 2 {
				t.Errorf("onEnd after the end called %d times, want 1", ends-1)
			}
			if l.wasInterrupted() != test.interrupted {
				t.Errorf("interrupted: got %v", l.wasInterrupted())
			}
			if err := l.fail(errClientLeft); err != test.cause && test.own != nil {
				t.Errorf("closed because of %v, want %v", err, test.cause)
			}
			if ends != 2 {
				t.Errorf("%d callbacks, want 2", ends)
			}
		})
	}
}

// A second interruption does not cut short how long the client lingers.
func TestLifetimeInterruptedTwice(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	var l lifetime
	l.own(stream.NewSocket(near))
	l.interrupt()
	near.SetReadDeadline(time.Time{})
	l.interrupt()
	go far.Write([]byte{1})
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func socket(t *testing.T) *stream.Socket {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	return stream.NewSocket(near)
}

// A closed session has no timers, which would keep it in memory until they fire.
func TestClosedSessionHasNoTimers(t *testing.T) {
	var l lifetime
	l.after(time.Hour, func() {})
	l.closeAfter(time.Hour)
	l.closeAfter(2 * time.Hour)
	timers := append(l.ends, l.timer)
	l.close()
	for i, timer := range timers {
		if timer.Stop() {
			t.Errorf("timer %d still runs", i)
		}
	}
	if l.closeAfter(time.Hour); l.ends != nil {
		t.Error("a closed session has got a timer")
	}
}
