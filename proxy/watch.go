package proxy

import (
	"fmt"
	"time"

	"bip324proxy/v1v2"
)

// stalledError is a side of a translated session that has not completed a message
// for too long.
type stalledError struct{ side v1v2.Side }

func (e *stalledError) Error() string {
	return fmt.Sprintf("the %s has not completed a message for too long", e.side)
}

// watch ends a translated session when a side has not completed a message for the
// idle timeout and a quarter, or up to twice that. Single bytes, now and then, put
// off the idle timeout of a side for ever; packets that are decoys do, too.
func (s *session) watch(up, down uint64) {
	idle := s.server.idleTimeout()
	s.after(idle+idle/4, func() {
		switch nowUp, nowDown := progress(&s.up), progress(&s.down); {
		case nowUp == up:
			s.fail(&stalledError{v1v2.Client})
		case nowDown == down:
			s.fail(&stalledError{v1v2.Peer})
		default:
			s.watch(nowUp, nowDown)
		}
	})
}

// after has f called after d, unless the session has ended by then. A session waits
// for one such moment at a time.
func (s *session) after(d time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.timer = time.AfterFunc(d, f)
	}
}

// progress is how many messages went, or did not go, one way.
func progress(c *v1v2.Counts) uint64 { return c.Messages.Load() + c.Dropped() }

// fail ends the session at once because of err, unless it has ended by then.
func (s *session) fail(err error) {
	s.mu.Lock()
	if !s.closed {
		s.failure = err
	}
	s.mu.Unlock()
	s.close()
}

// failed returns what fail was called with.
func (s *session) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}
