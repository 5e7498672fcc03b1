package transport

import (
	"net"
	"slices"
	"time"
	"weak"

	"bip324proxy/internal/random"
	"bip324proxy/internal/stream"
)

const (
	// startsAfter and startsAt, in bytes, are when cells begin: after that time, or soon after
	// that much was sent.
	startsAfter = 20 * time.Second
	startsAt    = 64 << 10

	// maxBacklog is how much waits for cells, in bytes.
	maxBacklog = 64 << 10

	day = 24 * time.Hour
)

// cells is the rhythm of the modes cover and tunnel:
//
//	queue ──▶ backlog ──▶ a cell at each tick, filled up with a decoy
//
// Packets straddle cells. Nothing of the rhythm depends on what is queued, unless the backlog
// overflows.
type cells struct {
	socket  *stream.Socket // nil: the mode is pad
	timer   *time.Timer
	next    time.Time // when the next tick is due
	started bool
	early   bool // enough was sent to start before startsAfter

	backlog []byte // packets that wait for cells
	direct  bool   // the backlog has overflowed: everything leaves at once
	written int    // bytes that were queued since the last cell

	dayBegan time.Time
	spent    int64 // bytes of cells and of false bursts since then, whatever was in them

	ticked  chan struct{} // closed by the next tick; nil if nothing waits for it
	waiting int           // messages that wait for it to leave: see awaitTurn

	ending
}

// startCells begins to wait for the first cell, unless the other end has to ask for a tunnel.
// The timer does not keep c from the garbage collector.
func (s *shaper) startCells(c *Conn) {
	s.cells.socket = c.socket
	s.cells.socket.LimitCalls()
	s.cells.hurried = make(chan struct{})
	s.cells.dayBegan = time.Now()
	conn := weak.Make(c)
	s.cells.timer = time.AfterFunc(startsAfter, func() {
		if c := conn.Value(); c != nil {
			c.out.shaper.tick()
		}
	})
	s.cells.next = time.Now().Add(startsAfter)
	if s.mode == ShapeOff {
		s.cells.timer.Stop()
	}
}

// inCells reports whether what is queued leaves in cells.
func (s *shaper) inCells() bool {
	return s.cells.started && !s.cells.ended && s.mode != ShapePad
}

// tick does what is due, and schedules the next tick.
func (s *shaper) tick() {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	c := &s.cells
	now := time.Now()
	switch {
	case c.ended || c.stopped.Load():
		return
	case s.mode == ShapeOff:
		if s.heard.Load() {
			s.grant(now)
		}
		return
	}
	if now.Before(c.next) { // the timer fired for the answer, or before it was put off
		s.awaitAnswer(now)
		c.schedule(c.next)
		return
	}
	if !c.started {
		c.started, c.next = true, now
		s.setMode(s.mode)
	}
	s.renewBudget(now)
	s.awaitAnswer(now)
	s.sendDue()
	c.wake()
	if s.out.w.Failed() != nil {
		c.backlog = nil
		return
	}
	s.scheduleNext()
}

// awaitTick waits for the next tick, and reports whether there was one. The wait also ends at
// until, with the connection, and when the user's deadline passes or changes: the next call then
// returns the error. It releases the mutex meanwhile.
func (s *shaper) awaitTick(until time.Time) (ticked bool, err error) {
	c := &s.cells
	limit, changed := c.socket.AwaitLimit()
	if err := s.out.w.Err(); err != nil {
		return false, err
	}
	if limit.IsZero() || until.Before(limit) {
		limit = until
	}
	if c.ticked == nil {
		c.ticked = make(chan struct{})
	}
	tick := c.ticked
	passed := time.NewTimer(time.Until(limit))
	defer passed.Stop()
	s.out.mu.Unlock()
	defer s.out.mu.Lock()
	select {
	case <-tick:
		return true, nil
	case <-c.hurried:
	case <-changed:
	case <-passed.C:
	}
	return false, nil
}

// wake wakes what awaits a tick.
func (c *cells) wake() {
	if c.ticked != nil {
		close(c.ticked)
		c.ticked = nil
	}
}

// schedule makes the next tick due at a time.
func (c *cells) schedule(at time.Time) {
	c.next = at
	c.timer.Reset(time.Until(at))
	if c.stopped.Load() { // perhaps just before
		c.timer.Stop()
	}
}

// scheduleNext schedules the next tick after one that has sent what was due.
func (s *shaper) scheduleNext() {
	c, now := &s.cells, time.Now()
	at := c.next.Add(s.draw())
	switch {
	case s.mode == ShapePad && !s.out.w.Pending():
		at = c.dayBegan.Add(day)
	case at.Before(now): // a write was blocked: its cells are not caught up with
		at = now.Add(s.draw())
	}
	c.schedule(at)
}

// startIfSent moves the first cell forward if enough was sent.
func (s *shaper) startIfSent() {
	c := &s.cells
	if c.timer == nil || c.started || c.early || s.real.Load()+s.filler.Load() < startsAt {
		return
	}
	c.early = true
	c.schedule(time.Now().Add(s.draw()))
}

// draw returns the time between two cells, whatever is sent.
func (s *shaper) draw() time.Duration { return s.shape.Every/2 + random.N(s.shape.Every) }

// renewBudget begins a new day.
func (s *shaper) renewBudget(now time.Time) {
	c := &s.cells
	if now.Sub(c.dayBegan) < day {
		return
	}
	c.dayBegan, c.spent = now, 0
	if s.mode == ShapePad {
		s.change(s.fullMode(), ShapeBudgetRenewed)
	}
}

// sendDue sends what is due at a tick, in one write.
func (s *shaper) sendDue() {
	switch {
	case s.out.w.Pending() || len(s.out.w.Buf) > 0: // a deadline has left it, or it was queued before the cells began
		s.flushPadded()
	case !s.inCells():
	case s.cells.spent < s.shape.Budget:
		s.sendCell()
	case len(s.cells.backlog) == 0 || s.sendBacklog(s.bucket) == nil:
		s.change(ShapePad, ShapeBudgetUsed)
	}
}

// sendCell sends a cell, or a burst of a tunnel.
func (s *shaper) sendCell() {
	c := &s.cells
	if c.written <= s.shape.Cell { // which cells can carry
		c.direct = false
	}
	c.written = 0
	fake := s.fakeBurst()
	c.spent += int64(max(fake, s.shape.Cell))
	switch {
	case c.waiting > 0: // a large message takes its place
	case s.bursts() && len(c.backlog) > s.shape.Burst:
		s.sendBacklog(burstSize)
	case fake > 0:
		s.sendBacklog(func(n int) int { return max(fake, burstSize(n)) })
	default:
		s.sendOne()
	}
}

// sendOne sends one cell.
func (s *shaper) sendOne() {
	c := &s.cells
	if s.out.w.Reserve(s.shape.Cell) != nil {
		return
	}
	if gap := s.shape.Cell - len(c.backlog); 0 < gap && gap < minFiller {
		c.backlog = s.fill(c.backlog, minFiller) // reaches into the next cell
	}
	n := min(len(c.backlog), s.shape.Cell)
	s.out.w.Buf = append(s.out.w.Buf, c.backlog[:n]...)
	if c.backlog = c.backlog[n:]; len(c.backlog) == 0 {
		c.backlog = nil
	}
	s.out.w.Buf = s.fill(s.out.w.Buf, s.shape.Cell-n)
	s.out.w.Flush()
}

// takes reports whether the backlog has room for n bytes.
func (c *cells) takes(n int) bool { return len(c.backlog)+n <= maxBacklog }

// takeBacklog returns the backlog, and empties it.
func (c *cells) takeBacklog() []byte {
	backlog := c.backlog
	c.backlog = nil
	return backlog
}

// sendBacklog sends the backlog in one write, whose size depends on the backlog's, n. After an
// error the backlog still waits, or the connection has failed.
func (s *shaper) sendBacklog(size func(n int) int) error {
	if err := s.out.w.Ready(); err != nil {
		return err
	}
	c := &s.cells
	backlog := c.takeBacklog()
	n := len(backlog)
	return s.sendLarge(size(n), n, func(b []byte) []byte { return append(b, backlog...) })
}

// queueCells puts a packet of n bytes into the backlog.
func (s *shaper) queueCells(n, size int, decoy bool, parts [][]byte) error {
	c := &s.cells
	if !c.takes(n) {
		backlog, err := s.beginOverflow(n)
		if err != nil {
			return err
		}
		return s.sendLarge(s.overflowSize(len(backlog)+n), len(backlog)+n, func(b []byte) []byte {
			return s.sealReal(append(b, backlog...), size, decoy, parts)
		})
	}
	if c.stopped.Load() {
		return net.ErrClosed
	}
	if err := s.out.w.Err(); err != nil {
		return err
	}
	c.written += n
	c.backlog = s.sealReal(slices.Grow(c.backlog, n), size, decoy, parts)
	return nil
}

// beginOverflow makes everything leave at once, from a packet of n bytes on, and takes the backlog,
// which leaves before it. The writer is then ready.
func (s *shaper) beginOverflow(n int) ([]byte, error) {
	c := &s.cells
	if c.stopped.Load() {
		return nil, net.ErrClosed
	}
	if err := s.out.w.Ready(); err != nil {
		return nil, err
	}
	c.written += n
	if !c.direct {
		c.direct = true
		s.overflows.Add(1)
	}
	return c.takeBacklog(), nil
}

// flushCells sends what was queued after an overflow, and what a deadline has left of that.
// Otherwise it waits for cells.
func (s *shaper) flushCells() error {
	c := &s.cells
	least := 0
	if s.bursts() {
		least = s.shape.Burst
	}
	switch {
	case c.stopped.Load():
		return net.ErrClosed
	case !c.direct:
		return s.out.w.Failed()
	}
	if len(c.backlog) > least {
		if err := s.sendBacklog(s.overflowSize); err != nil {
			return err
		}
	}
	return s.out.w.Flush()
}

// waits reports whether something waits for cells.
func (s *shaper) waits() bool { return len(s.cells.backlog) > 0 && s.out.w.Failed() == nil }
