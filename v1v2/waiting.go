package v1v2

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// deadline is a deadline that calls wait for, and that can be changed meanwhile.
type deadline struct {
	some    atomic.Bool // at is not zero
	mu      sync.Mutex
	at      time.Time
	changed chan struct{} // if not nil, closed when at changes
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	d.some.Store(!t.IsZero())
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

func (d *deadline) get() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func (d *deadline) passed() bool {
	if !d.some.Load() {
		return false
	}
	at := d.get()
	return !at.IsZero() && !time.Now().Before(at)
}

// await returns the deadline, and a channel that is closed when it changes.
func (d *deadline) await() (at time.Time, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.at, d.changed
}

// turn is a lock for which calls wait until a deadline. It costs less than a channel, which
// matters because every Read and Write takes it.
type turn struct {
	taken  atomic.Bool
	passed chan struct{} // wakes one of those that wait
}

func newTurn() turn { return turn{passed: make(chan struct{}, 1)} }

// pass releases the turn.
func (t *turn) pass() {
	t.taken.Store(false)
	select {
	case t.passed <- struct{}{}:
	default: // whoever receives what is there tries again
	}
}

// lock takes the turn, and waits for it as wait does.
func (c *Conn) lock(t *turn, d *deadline) error {
	if d.passed() {
		return os.ErrDeadlineExceeded
	}
	for !t.taken.CompareAndSwap(false, true) {
		if err := c.wait(t.passed, d); err != nil {
			return err
		}
	}
	return nil
}

// done is a channel that is closed.
var done = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// isDone reports whether c, on which nothing is sent, is closed.
func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wait receives from ready. It fails when the deadline passes, even if it need not wait, or
// the Conn is closed.
func (c *Conn) wait(ready <-chan struct{}, d *deadline) error {
	if d.passed() {
		return os.ErrDeadlineExceeded
	}
	select {
	case <-ready:
		return nil
	default:
	}
	for {
		at, changed := d.await()
		var passed <-chan time.Time
		if !at.IsZero() {
			passed = time.After(time.Until(at))
		}
		select {
		case <-ready:
			return nil
		case <-passed:
			return os.ErrDeadlineExceeded
		case <-c.closed:
			return net.ErrClosed
		case <-changed:
		}
	}
}
