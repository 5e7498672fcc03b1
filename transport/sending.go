package transport

import (
	"errors"
	"os"
	"sync"

	"bip324proxy/internal/stream"
)

// sending is the direction to the peer.
type sending struct {
	mu      sync.Mutex
	w       *stream.Writer
	ciphers *direction
	shaper  *shaper // nil: Config.Shape is zero
}

// lock begins a call of the user.
func (s *sending) lock() {
	if s.shaper != nil && s.shaper.cells.socket != nil {
		s.shaper.cells.socket.BeginCall() // a tick that writes now must not keep it waiting beyond the user's deadline
	}
	s.mu.Lock()
}

// unlock ends what lock began.
func (s *sending) unlock() {
	if s.shaped() {
		s.shaper.startIfSent()
	}
	s.mu.Unlock()
	if s.shaper != nil && s.shaper.cells.socket != nil {
		s.shaper.cells.socket.EndCall()
	}
}

func (s *sending) queue(decoy bool, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size > MaxContents {
		return &SizeError{Contents: size}
	}
	n := packetSize(size)
	switch {
	case s.shaped():
		return s.shaper.queue(size, decoy, parts)
	case n > stream.BatchSize:
		if err := s.w.Ready(); err != nil {
			return err
		}
		large := stream.HeapBody(n)
		defer stream.PutHeapBody(large)
		if err := s.w.Send(s.seal((*large)[:0], size, decoy, parts)); !s.w.Pending() {
			return err
		}
		return nil
	}
	if err := s.w.Reserve(n); err != nil {
		return err
	}
	s.w.Buf = s.seal(s.w.Buf, size, decoy, parts)
	return nil
}

func (s *sending) flush() error {
	if s.shaped() {
		return s.pending(s.shaper.flush())
	}
	return s.pending(s.w.Flush())
}

// drain sends all that was queued, before the direction is closed.
func (s *sending) drain() error {
	s.lock()
	defer s.unlock()
	if s.shaped() {
		return s.pending(s.shaper.drain())
	}
	err := s.flush()
	if err == nil && s.shaper != nil {
		s.shaper.cells.ended = true // nor is an offer answered
	}
	return err
}

// shaped reports whether the direction is shaped now.
func (s *sending) shaped() bool { return s.shaper != nil && s.shaper.mode != ShapeOff }

// hurry ends the wait for cells: the connection ends. It does not block.
func (s *sending) hurry() {
	if s.shaper != nil {
		s.shaper.hurry()
	}
}

// stop ends the rhythm of the cells. It does not block.
func (s *sending) stop() {
	if s.shaper != nil {
		s.shaper.stop()
	}
}

// wipe zeroes the keys.
func (s *sending) wipe() {
	if s.shaper != nil {
		s.stop()
		s.mu.Lock() // a cell may be on its way
		defer s.mu.Unlock()
	}
	s.ciphers.wipe()
}

// pending returns err, as a *PendingError if something that was to be sent is kept.
func (s *sending) pending(err error) error {
	if err != nil && s.w.Pending() || errors.Is(err, os.ErrDeadlineExceeded) && s.shaped() && s.shaper.waits() {
		return &PendingError{Err: err}
	}
	return err
}

// seal appends a packet to dst, which has room for it.
func (s *sending) seal(dst []byte, size int, decoy bool, parts [][]byte) []byte {
	at := len(dst) + Headroom
	for _, p := range parts {
		at += stream.Copy(dst[at:at+len(p)], p)
	}
	return s.ciphers.sealInPlace(dst, size, nil, decoy)
}
