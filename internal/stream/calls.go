package stream

import "time"

// calls are the user's calls in progress on a direction that others use, too.
type calls struct {
	counted bool // only these have the user's deadline
	n       int
}

// exempt reports whether the user's deadline does not count now.
func (c *calls) exempt() bool { return c.counted && c.n == 0 }

// LimitCalls makes the deadline of LimitWrites count only between BeginCall and EndCall: other
// writes go on after it. It must be called before both.
func (s *Socket) LimitCalls() {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	s.writes.calls.counted = true
	s.writes.applyCalls(s.Conn.SetWriteDeadline)
}

// BeginCall begins a call of the user. The deadline takes effect on a write in progress, too,
// which the call waits for.
func (s *Socket) BeginCall() { s.writes.call(1, s.Conn.SetWriteDeadline) }

// EndCall ends what BeginCall began.
func (s *Socket) EndCall() { s.writes.call(-1, s.Conn.SetWriteDeadline) }

func (d *deadlines) call(change int, apply func(time.Time) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.calls.exempt()
	d.calls.n += change
	if d.calls.exempt() != before {
		d.applyCalls(apply)
	}
}

// applyCalls has apply set the deadline, if the user's makes a difference. d.mu is held.
func (d *deadlines) applyCalls(apply func(time.Time) error) {
	if !d.limit.IsZero() {
		apply(d.until())
	}
}

// AwaitLimit returns the deadline of LimitWrites, and a channel that is closed when it changes.
func (s *Socket) AwaitLimit() (limit time.Time, changed <-chan struct{}) {
	limit, _, changed = s.writes.await()
	return limit, changed
}
