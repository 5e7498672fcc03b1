package stream

import (
	"sync"
	"sync/atomic"
	"time"
)

// past is a deadline that has passed on every clock.
var past = time.Unix(1, 0)

// deadlines are the two deadlines of a direction, of which the earlier counts.
type deadlines struct {
	limited atomic.Bool // limit was ever set

	mu      sync.Mutex
	own     time.Time     // of the stage that uses the socket: it moves on with activity
	limit   time.Time     // of the connection's user
	closed  bool          // the connection is
	changed chan struct{} // if not nil, closed by the next change of limit or closed
	calls   calls
}

// set changes one of the deadlines, and has apply set the earlier one.
func (d *deadlines) set(which *time.Time, t time.Time, apply func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	*which = t
	if which == &d.limit {
		d.limited.Store(true)
		d.notify()
	}
	return apply(d.until())
}

// until returns the deadline that counts. d.mu is held.
func (d *deadlines) until() time.Time {
	if d.calls.exempt() {
		return d.own
	}
	return earlier(d.own, d.limit)
}

// close ends the waits for memory.
func (d *deadlines) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.notify()
}

// notify closes changed. d.mu is held.
func (d *deadlines) notify() {
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// passed reports whether the user's deadline has passed.
func (d *deadlines) passed() bool {
	if !d.limited.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.limit.IsZero() && !d.calls.exempt() && !time.Now().Before(d.limit)
}

// await returns the user's deadline, whether the connection is closed, and a channel that
// is closed when either changes.
func (d *deadlines) await() (limit time.Time, closed bool, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.limit, d.closed, d.changed
}

// earlier returns the earlier of two deadlines; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// deadline moves on with activity. Setting a socket's deadline costs more than
// reading the clock, so it moves in steps of an eighth.
type deadline struct {
	span  time.Duration // from an activity to the deadline; 0 for none
	until time.Time     // as the socket was told last
	limit time.Time     // if not zero: no activity moves it beyond
}

// extend returns the new deadline, and whether the socket must be told.
func (d *deadline) extend() (time.Time, bool) {
	if d.span <= 0 {
		return time.Time{}, false
	}
	until := time.Now().Add(d.span)
	if !d.limit.IsZero() && until.After(d.limit) {
		until = d.limit
	}
	if moved := until.Sub(d.until); 0 <= moved && moved < d.span/8 {
		return d.until, false
	}
	d.until = until
	return until, true
}
