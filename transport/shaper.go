package transport

import (
	"slices"
	"sync/atomic"

	"bip324proxy/internal/stream"
)

const (
	// minFiller is the size of the smallest decoy, in bytes: a smaller gap cannot be filled.
	minFiller = Headroom + Tailroom

	// maxFiller is the size of the largest decoy that fills a gap, in bytes: a receiver needs
	// no memory for it.
	maxFiller = 15 << 10

	// maxBatch is the size, in bytes, of what one write gathers: a decoy must fit, too.
	maxBatch = stream.BatchSize - minFiller
)

// shaper is what a connection with a Shape sends.
type shaper struct {
	out   *sending  // its mutex guards the shaper
	shape Shape     // with the defaults
	mode  ShapeMode // off until the other end asks for a tunnel; pad while the budget is used up
	cells cells
	tunnel

	real, filler, overflows atomic.Uint64
	inForce                 atomic.Value // the ShapeMode of Shaping
}

// startShape begins to shape c, whose handshake h is done.
func (c *Conn) startShape(h *Handshake) {
	shape, initiator := h.cfg.Shape, h.initiator
	switch {
	case shape.Mode == ShapeCore && initiator:
		c.unshaped = ShapeCore
		return
	case shape.Mode == ShapeOff || shape.Mode == ShapeCore:
		return
	}
	s := &shaper{out: &c.out, shape: shape.WithDefaults()}
	c.out.shaper = s
	s.filler.Store(uint64(h.filler))
	s.out.mu.Lock() // ticks are in other goroutines
	defer s.out.mu.Unlock()
	s.tunnel.begin(c.sessionID, initiator, s.shape.Every)
	mode := shape.Mode
	if mode == ShapeTunnel && !initiator {
		mode = ShapeOff // until the other end asks for it
	}
	s.setMode(mode)
	if shape.Mode != ShapePad {
		s.startCells(c)
	}
}

// setMode sets the mode, and what Shaping reports: every mode begins as pad, and until the other
// end agrees a tunnel is cover.
func (s *shaper) setMode(m ShapeMode) {
	s.mode = m
	switch {
	case m == ShapeOff:
	case !s.cells.started:
		m = ShapePad
	case m == ShapeTunnel && !s.agreed:
		m = ShapeCover
	}
	s.inForce.Store(m)
}

// change sets the mode, and tells the user.
func (s *shaper) change(m ShapeMode, why ShapeReason) {
	s.setMode(m)
	if s.shape.Changed != nil {
		s.shape.Changed(ShapeChange{m, why})
	}
}

// Shaping returns what the connection's shape has cost so far. It is safe to call from any
// goroutine.
func (c *Conn) Shaping() Shaping {
	now := Shaping{Mode: c.unshaped, ReceivedFiller: c.in.decoys.bytes.Load()}
	if s := c.out.shaper; s != nil {
		now.Mode = s.inForce.Load().(ShapeMode)
		now.SentReal, now.SentFiller, now.Overflows = s.real.Load(), s.filler.Load(), s.overflows.Load()
	}
	return now
}

// queue seals a packet for the next write or the next cells, and sends what has no room there.
func (s *shaper) queue(size int, decoy bool, parts [][]byte) error {
	n := packetSize(size)
	if s.inCells() && s.bursts() {
		if err := s.awaitTurn(n); err != nil {
			return err
		}
	}
	if s.inCells() { // they may have ended meanwhile
		return s.queueCells(n, size, decoy, parts)
	}
	if n > maxBatch {
		if err := s.readyPadded(); err != nil {
			return err
		}
		return s.sendLarge(s.bucket(n), n, func(b []byte) []byte { return s.sealReal(b, size, decoy, parts) })
	}
	if len(s.out.w.Buf)+n > maxBatch {
		if err := s.flushPadded(); err != nil {
			return err
		}
	}
	if err := s.out.w.Reserve(n); err != nil {
		return err
	}
	s.out.w.Buf = s.sealReal(s.out.w.Buf, size, decoy, parts)
	return nil
}

// writeInPlace sends what was queued and the packet that b becomes: see Conn.WriteInPlace.
func (s *shaper) writeInPlace(b []byte) error {
	contents := b[Headroom : len(b)-Tailroom]
	cells := s.inCells()
	// A burst is copied, too: it must leave in one write, or the ends of several would tell how
	// much of it is filler.
	if len(b) <= stream.BatchSize || cells && (s.bursts() || s.cells.takes(len(b))) {
		if err := s.queue(len(contents), false, [][]byte{contents}); err != nil {
			return err
		}
		return s.out.pending(s.flush())
	}
	var before []byte
	var err error
	if cells {
		before, err = s.beginOverflow(len(b))
	} else {
		err = s.readyPadded()
	}
	if err != nil {
		return err
	}
	s.real.Add(uint64(len(b)))
	b = s.out.ciphers.seal(b[:0], contents, nil, false)
	return s.out.pending(s.sendSealed(before, b, s.bucket(len(before)+len(b))))
}

// sendSealed sends before, b, which is larger than a batch, and filler up to size, in writes of
// whole buckets. Only the ends of b are copied, behind before and ahead of the filler: otherwise
// what waits for the peer would take twice its memory. The writer is ready.
func (s *shaper) sendSealed(before, b []byte, size int) error {
	parts := make([][]byte, 0, 3)
	if len(before) > 0 {
		n := (len(before)/stream.BatchSize+1)*stream.BatchSize - len(before)
		before = append(before, b[:n]...)
		parts, b, size = append(parts, before), b[n:], size-len(before)
	}
	whole := len(b) / stream.BatchSize * stream.BatchSize
	if whole > 0 {
		parts = append(parts, b[:whole])
	}
	if whole < size {
		end := stream.HeapBody(size - whole)
		defer stream.PutHeapBody(end)
		parts = append(parts, s.fill(append((*end)[:0], b[whole:]...), size-len(b)))
	}
	return s.out.w.Send(parts...)
}

// flush sends what was queued, unless it waits for cells.
func (s *shaper) flush() error {
	if s.inCells() {
		return s.flushCells()
	}
	return s.flushPadded()
}

// flushPadded sends the batch in one write, filled up to a bucket.
func (s *shaper) flushPadded() error {
	if n := len(s.out.w.Buf); n > 0 {
		s.out.w.Buf = s.fill(s.out.w.Buf, s.bucket(n)-n)
	}
	return s.out.w.Flush()
}

// readyPadded is Writer.Ready that fills up what was gathered.
func (s *shaper) readyPadded() error {
	if err := s.flushPadded(); err != nil {
		return err
	}
	return s.out.w.Ready()
}

// sendLarge sends the n bytes that put appends, and filler, in one write of size bytes. The writer
// is ready. If a deadline passes, the rest is kept and the error nil: the next flush reports it.
func (s *shaper) sendLarge(size, n int, put func([]byte) []byte) error {
	body := stream.HeapBody(size)
	defer stream.PutHeapBody(body)
	err := s.out.w.Send(s.fill(put((*body)[:0]), size-n))
	if s.out.w.Pending() {
		return nil
	}
	return err
}

// bucket returns the size of the write that n bytes leave in, with filler.
func (s *shaper) bucket(n int) int { return bucket(n, s.shape.Bucket, 0) }

// bucket returns the size that n bytes are filled up to: a power of two from smallest, or a
// multiple of 16 KiB. The gap fits a decoy with contents of at least least bytes; if least is
// zero there may be no gap.
func bucket(n, smallest, least int) int {
	fits := func(size int) bool { return size == n && least == 0 || size-n >= minFiller+least }
	size := smallest
	for size < stream.BatchSize && !fits(size) {
		size *= 2
	}
	if fits(size) {
		return size
	}
	size = (n + stream.BatchSize - 1) / stream.BatchSize * stream.BatchSize
	if !fits(size) {
		size += stream.BatchSize
	}
	return size
}

// sealReal appends a packet of the user to dst, which has room for it.
func (s *shaper) sealReal(dst []byte, size int, decoy bool, parts [][]byte) []byte {
	s.real.Add(uint64(packetSize(size)))
	return s.out.seal(dst, size, decoy, parts)
}

// fill appends decoys of n bytes together: zero, or at least minFiller.
func (s *shaper) fill(dst []byte, n int) []byte {
	if n == 0 {
		return dst
	}
	s.filler.Add(uint64(n))
	return s.out.ciphers.fill(dst, n, nil)
}

// fill appends decoys of n bytes together, at least minFiller and len(say). The contents of the
// first begin with say; the rest is zeros.
func (d *direction) fill(dst []byte, n int, say []byte) []byte {
	dst = slices.Grow(dst, n)
	for n > 0 {
		k := min(n, maxFiller)
		if rest := n - k; 0 < rest && rest < minFiller {
			k -= minFiller
		}
		contents := dst[len(dst)+Headroom : len(dst)+k-Tailroom]
		clear(contents[copy(contents, say):])
		dst = d.sealInPlace(dst, len(contents), nil, true)
		n, say = n-k, nil
	}
	return dst
}

// fillHandshake fills b, the write with our version packet, up to a bucket; in a tunnel with the
// offer.
func (s Shape) fillHandshake(b []byte, out *direction, sessionID *[32]byte, initiator bool) []byte {
	var say []byte
	switch s.Mode {
	case ShapePad, ShapeCover:
	case ShapeTunnel:
		if !initiator {
			return b // which is not asked for a tunnel yet
		}
		say = s.WithDefaults().offer(sessionID)
	default:
		return b
	}
	return out.fill(b, bucket(len(b), s.WithDefaults().Bucket, len(say))-len(b), say)
}
