package transport

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bip324proxy/internal/random"
)

const (
	// maxBacklog is how much waits for cells, in bytes.
	maxBacklog = 64 << 10

	// minBurst is the size of the smallest burst of a tunnel, in bytes.
	smallestBurst, largestFake = 16 << 10, 1 << 20

	// drainTimeout is how long the end of the stream waits for the backlog to leave in cells.
	drainTimeout = 30 * time.Second

	day = 24 * time.Hour
)

// cells is the rhythm of the modes cover and tunnel:
//
//	queue ──▶ backlog ──▶ a cell at each tick, filled up with a decoy
//
// Packets straddle cells. Nothing of the rhythm depends on what is queued, unless the backlog
// overflows.
type cells struct {
	timer   *time.Timer
	started bool
	early   bool      // enough was sent to start before startsAfter
	next    time.Time // when the next cell is due
	backlog []byte    // packets that wait for cells
	direct  bool      // the backlog has overflowed: everything leaves at once
	wrote   bool      // something was queued since the last cell

	dayBegan time.Time
	spent    uint64 // the filler that was sent before that

	drained  chan struct{} // closed when the backlog is empty; nil unless drain waits
	hurried  chan struct{} // closed by hurry
	hurrying sync.Once
	stopped  atomic.Bool
}

// startCells begins to wait for the first cell.
func (s *shaper) startCells() {
	c := &s.cells
	c.hurried = make(chan struct{})
	c.dayBegan = time.Now()
	c.timer = time.AfterFunc(startsAfter, s.tick)
	if s.mode == ShapeOff {
		c.timer.Stop() // until the other end asks for a tunnel
	}
}

// inCells reports whether what is queued leaves in cells.
func (s *shaper) inCells() bool { return s.cells.started && s.mode != ShapePad }

// tick sends a cell, and schedules the next one.
func (s *shaper) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.cells
	if c.stopped.Load() {
		return
	}
	now := time.Now()
	if !c.started && !s.start(now) {
		return
	}
	s.renewBudget(now)
	s.awaitAnswer(now)
	if s.inCells() && s.w.Flush() == nil {
		s.sendCell()
	}
	if len(c.backlog) == 0 && c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
	if c.next = c.next.Add(s.draw()); c.next.Before(now) {
		c.next = now.Add(s.draw()) // it is not caught up with
	}
	c.timer.Reset(time.Until(c.next))
}

// start begins the cells, and reports whether one is due now.
func (s *shaper) start(now time.Time) bool {
	c := &s.cells
	if s.mode == ShapeOff { // the other end asks for a tunnel
		s.grant(now)
		return false
	}
	s.flushPadded()
	c.started, c.next = true, now
	return true
}

// startIfSent moves the first cell forward if enough was sent.
func (s *shaper) startIfSent() {
	if c := &s.cells; c.timer != nil && !c.started && !c.early && s.real.Load()+s.filler.Load() >= startsAt {
		c.early = true
		c.timer.Reset(s.draw())
	}
}

// draw returns the time between two cells, whatever is sent.
func (s *shaper) draw() time.Duration { return s.shape.Every/2 + random.N(s.shape.Every) }

// renewBudget begins a new day.
func (s *shaper) renewBudget(now time.Time) {
	c := &s.cells
	if now.Sub(c.dayBegan) < day {
		return
	}
	c.dayBegan, c.spent = now, s.filler.Load()
	if s.mode == ShapePad {
		s.change(s.tunnel.mode(s.shape.Mode), ShapeBudgetRenewed)
	}
}

// sendCell sends what is due.
func (s *shaper) sendCell() {
	c := &s.cells
	if s.filler.Load()-c.spent >= uint64(s.shape.Budget) {
		s.change(ShapePad, ShapeBudgetUsed)
		s.sendBacklog(s.bucket)
		return
	}
	if !c.wrote {
		c.direct = false
	}
	c.wrote = false
	switch fake := s.fakeBurst(); {
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
	if s.w.Reserve(s.shape.Cell) != nil {
		return
	}
	if gap := s.shape.Cell - len(c.backlog); 0 < gap && gap < minFiller {
		c.backlog = s.fill(c.backlog, minFiller) // reaches into the next cell
	}
	n := min(len(c.backlog), s.shape.Cell)
	s.w.Buf = append(s.w.Buf, c.backlog[:n]...)
	if c.backlog = c.backlog[n:]; len(c.backlog) == 0 {
		c.backlog = nil
	}
	s.w.Buf = s.fill(s.w.Buf, s.shape.Cell-n)
	s.w.Flush()
}

// bursts reports whether a large backlog leaves at once.
func (s *shaper) bursts() bool { return s.mode == ShapeTunnel && s.tunnel.agreed }

// fakeBurst returns the size of a false burst, if one is due, in bytes.
func (s *shaper) fakeBurst() int {
	if !s.bursts() || s.shape.Fakes <= 0 || random.N(s.shape.Fakes) >= s.shape.Every {
		return 0
	}
	size := smallestBurst
	for size < largestFake && random.N(2) == 0 {
		size *= 2
	}
	return size
}

// burstSize returns the size that a burst of n bytes is filled up to.
func burstSize(n int) int {
	size := smallestBurst
	for size < n {
		size *= 2
	}
	if gap := size - n; 0 < gap && gap < minFiller {
		size *= 2
	}
	return size
}

// sendBacklog sends the backlog in one write, filled up to size of it.
func (s *shaper) sendBacklog(size func(n int) int) error {
	if err := s.w.Ready(); err != nil {
		return err
	}
	c := &s.cells
	n := len(c.backlog)
	backlog := c.backlog
	c.backlog = nil
	return s.sendLarge(size(n), n, func(b []byte) []byte { return append(b, backlog...) })
}

// queueCells puts a packet of n bytes into the backlog.
func (s *shaper) queueCells(n, size int, decoy bool, parts [][]byte) error {
	if err := s.w.Err(); err != nil {
		return err
	}
	c := &s.cells
	c.wrote = true
	if len(c.backlog)+n <= maxBacklog {
		c.backlog = s.sealReal(slices.Grow(c.backlog, n), size, decoy, parts)
		return nil
	}
	if !c.direct {
		c.direct = true
		s.overflows.Add(1)
	}
	if err := s.w.Ready(); err != nil {
		return err
	}
	backlog := c.backlog
	c.backlog = nil
	return s.sendLarge(s.overflowSize(len(backlog)+n), len(backlog)+n, func(b []byte) []byte {
		return s.sealReal(append(b, backlog...), size, decoy, parts)
	})
}

// overflowSize returns the size that n bytes are filled up to that leave without cells.
func (s *shaper) overflowSize(n int) int {
	if s.bursts() {
		return burstSize(n)
	}
	return s.bucket(n)
}

// flushCells sends the backlog if it does not wait for cells.
func (s *shaper) flushCells() error {
	c := &s.cells
	least := 0
	if s.bursts() {
		least = s.shape.Burst
	}
	if !c.direct || len(c.backlog) <= least {
		if err := s.w.Err(); err != nil && !s.w.Pending() {
			return err
		}
		return nil
	}
	return s.sendBacklog(s.overflowSize)
}

// drain waits until the backlog has left, and ends the rhythm.
func (s *shaper) drain() error {
	c := &s.cells
	if s.inCells() && len(c.backlog) > 0 && s.w.Err() == nil {
		drained := make(chan struct{})
		c.drained = drained
		s.mu.Unlock()
		timeout := time.NewTimer(drainTimeout)
		select {
		case <-drained:
		case <-c.hurried:
		case <-timeout.C:
		}
		timeout.Stop()
		s.mu.Lock()
		c.drained = nil
	}
	var err error
	if len(c.backlog) > 0 {
		err = s.sendBacklog(s.overflowSize)
	} else {
		err = s.flushPadded()
	}
	if err == nil {
		s.stop()
	}
	return err
}

func (s *shaper) hurry() {
	if c := &s.cells; c.hurried != nil {
		c.hurrying.Do(func() { close(c.hurried) })
	}
}

func (s *shaper) stop() {
	c := &s.cells
	c.stopped.Store(true)
	if c.timer != nil {
		c.timer.Stop()
	}
	s.hurry()
}
