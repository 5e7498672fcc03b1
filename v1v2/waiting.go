package v1v2

import (
	"net"
	"os"
	"sync"
	"time"
)

// deadline is a deadline that calls wait for, and that can be changed meanwhile.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	changed chan struct{} // if not nil, closed when at changes
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
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

// turn is a lock of which calls wait until a deadline. Whoever receives from it has it.
type turn chan struct{}

func newTurn() turn {
	t := make(turn, 1)
	t.pass()
	return t
}

// pass releases the turn.
func (t turn) pass() { t <- struct{}{} }

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
