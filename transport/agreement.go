package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"
)

const (
	tunnelLabel = "bip324-proxy shape 1"
	tunnelTag   = 16 // bytes
	offerSize   = tunnelTag + 4*4

	// grantTimeout is how long the other end of a tunnel may take to answer.
	grantTimeout = 30 * time.Second
)

// tunnel is the agreement of both ends, in the first decoy that each sends after its version
// packet: an offer of the initiator, and the responder's answer, in the same form. Programs
// that do not know it ignore it, as they do all decoys.
//
//	HMAC-SHA256(session id, label)[:16] | cell | every, ms | burst | fakes, ms | zeros
type tunnel struct {
	sessionID [32]byte
	initiator bool
	began     time.Time
	longest   time.Duration // from a tick to the next, by the own shape
	asked     terms         // by the other end; read it after heard
	heard     atomic.Bool   // the other end has the mode tunnel
	agreed    bool
	gaveUp    bool // the other end has not answered in time
}

// terms are what an offer asks for.
type terms struct {
	cell, burst  int
	every, fakes time.Duration // no fakes: 0
}

func (t *tunnel) begin(sessionID [32]byte, initiator bool, every time.Duration) {
	t.sessionID, t.initiator, t.began, t.longest = sessionID, initiator, time.Now(), every*3/2
}

// offer returns what the contents of a decoy begin with that offers a tunnel with s, which has
// the defaults.
func (s Shape) offer(sessionID *[32]byte) []byte {
	b := tunnelMark(sessionID)
	for _, n := range []int64{int64(s.Cell), s.Every.Milliseconds(), int64(s.Burst), s.Fakes.Milliseconds()} {
		b = binary.LittleEndian.AppendUint32(b, uint32(max(0, min(n, math.MaxUint32))))
	}
	return b
}

// parseOffer returns what contents ask for, and whether they are an offer in this session.
func parseOffer(contents []byte, sessionID *[32]byte) (terms, bool) {
	if len(contents) < offerSize || !hmac.Equal(contents[:tunnelTag], tunnelMark(sessionID)) {
		return terms{}, false
	}
	number := func(i int) int64 { return int64(binary.LittleEndian.Uint32(contents[tunnelTag+4*i:])) }
	return terms{
		cell:  int(min(number(0), maxCell)),
		every: time.Duration(number(1)) * time.Millisecond,
		burst: int(min(number(2), maxBurst)),
		fakes: time.Duration(number(3)) * time.Millisecond,
	}, true
}

func tunnelMark(sessionID *[32]byte) []byte {
	mac := hmac.New(sha256.New, sessionID[:])
	mac.Write([]byte(tunnelLabel))
	return mac.Sum(nil)[:tunnelTag]
}

// granted returns s, which has the defaults, with what the other end asks for in place of each
// field where that means no more filler.
func (s Shape) granted(asked terms) Shape {
	s.Cell = max(minCell, min(asked.cell, s.Cell))
	s.Every = max(s.Every, min(asked.every, maxEvery))
	s.Burst = max(s.Burst, min(asked.burst, maxBurst))
	switch {
	case asked.fakes == 0:
		s.Fakes = -1
	case s.Fakes > 0:
		s.Fakes = max(s.Fakes, asked.fakes)
	}
	return s
}

// decoys are those that the peer has sent.
type decoys struct {
	bytes atomic.Uint64
	seen  bool // one was received
}

// receivedDecoy counts a decoy, and looks into the first one for the other end of a tunnel.
func (c *Conn) receivedDecoy(contents []byte) {
	d := &c.in.decoys
	d.bytes.Add(uint64(packetSize(len(contents))))
	if s := c.out.shaper; s != nil && !d.seen {
		s.hear(contents)
	}
	d.seen = true
}

// hear looks into the first decoy of the peer. The reading goroutine calls it, which must not
// wait for a writer.
func (s *shaper) hear(contents []byte) {
	if s.shape.Mode != ShapeTunnel {
		return
	}
	asked, ok := parseOffer(contents, &s.sessionID)
	if !ok {
		return
	}
	s.asked = asked
	s.heard.Store(true)
	s.cells.timer.Reset(0) // for grant or awaitAnswer
}

// grant answers the other end, which asks for a tunnel, and begins to fill what is sent. Cells
// begin later.
func (s *shaper) grant(now time.Time) {
	shape := s.shape.granted(s.asked)
	if s.out.w.Ready() != nil || s.out.w.Reserve(shape.Bucket) != nil {
		if now.Sub(s.began) < grantTimeout {
			s.cells.timer.Reset(time.Second)
		}
		return
	}
	s.shape, s.agreed = shape, true
	s.cells.schedule(now.Add(startsAfter))
	s.change(ShapeTunnel, ShapeAgreed)
	s.filler.Add(uint64(shape.Bucket))
	s.out.w.Buf = s.out.ciphers.fill(s.out.w.Buf, shape.Bucket, shape.offer(&s.sessionID))
	s.out.w.Flush()
}

// awaitAnswer notes whether the other end has agreed, or will not. An initiator has cells
// meanwhile.
func (s *shaper) awaitAnswer(now time.Time) {
	t := &s.tunnel
	if s.shape.Mode != ShapeTunnel || !t.initiator || t.agreed || t.gaveUp {
		return
	}
	reason := ShapeAgreed
	switch {
	case t.heard.Load():
		t.agreed = true
	case now.Sub(t.began) > grantTimeout:
		t.gaveUp, reason = true, ShapeNotAgreed
	default:
		return
	}
	if s.mode != ShapePad { // the budget is not used up
		s.change(s.fullMode(), reason)
	}
}

// fullMode returns the mode while there is budget.
func (s *shaper) fullMode() ShapeMode {
	if s.gaveUp {
		return ShapeCover
	}
	return s.shape.Mode
}
