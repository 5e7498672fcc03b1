package transport

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// drainTimeout is how long the end of the stream waits for the backlog to leave in cells.
const drainTimeout = 30 * time.Second

// ending is the end of the cells, by drain or stop.
type ending struct {
	hurried  chan struct{} // closed by hurry: nothing awaits a tick any more
	hurrying sync.Once
	ended    bool        // by drain
	stopped  atomic.Bool // by stop
}

// drain sends all that was queued, and ends the rhythm.
func (s *shaper) drain() error {
	if err := s.awaitDrained(); err != nil {
		return err
	}
	if len(s.cells.backlog) > 0 {
		if err := s.sendBacklog(s.overflowSize); err != nil {
			return err
		}
	}
	if err := s.flushPadded(); err != nil { // also what a deadline has left
		return err
	}
	s.cells.ended = true
	return nil
}

// awaitDrained waits until the backlog has left in cells, but no longer than drainTimeout. It
// releases the mutex meanwhile.
func (s *shaper) awaitDrained() error {
	c := &s.cells
	until := time.Now().Add(drainTimeout)
	for s.inCells() && !c.direct && len(c.backlog) > 0 && !c.isHurried() && time.Now().Before(until) {
		if _, err := s.awaitTick(until); err != nil {
			return err
		}
	}
	if c.stopped.Load() {
		return net.ErrClosed
	}
	return nil
}

func (e *ending) isHurried() bool {
	select {
	case <-e.hurried:
		return true
	default:
		return false
	}
}

// hurry makes what awaits a tick go on at once. It does not block.
func (s *shaper) hurry() {
	if c := &s.cells; c.hurried != nil {
		c.hurrying.Do(func() { close(c.hurried) })
	}
}

// stop ends the rhythm. It does not block: a tick may be in progress.
func (s *shaper) stop() {
	c := &s.cells
	c.stopped.Store(true)
	if c.timer != nil {
		c.timer.Stop()
	}
	s.hurry()
}
