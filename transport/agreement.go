package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	tunnelLabel  = "bip324-proxy shape 1"
	tunnelTag    = 16 // bytes
	tunnelParams = 4 * 4

	// grantTimeout is how long the other end of a tunnel may take to answer.
	grantTimeout = 30 * time.Second
)

// tunnel is the agreement of both ends, in the first decoy that each sends after its version
// packet. Nobody else recognises it: its tag needs the session id.
//
//	HMAC-SHA256(session id, label)[:16] | cell | every, ms | burst | fakes, ms | zeros
type tunnel struct {
	sessionID [32]byte
	initiator bool
	began     time.Time
	toSay     []byte       // begins our next decoy's contents
	heard     atomic.Bool  // the other end has said that it has the mode tunnel
	asks      tunnelParam4 // what it wants; read after heard
	agreed    bool
	gaveUp    bool
}

type tunnelParam4 struct{ cell, everyMillis, burst, fakesMillis uint32 }

func (t *tunnel) begin(sessionID [32]byte, initiator bool) {
	t.sessionID, t.initiator, t.began = sessionID, initiator, time.Now()
}

// offer returns what the contents of a decoy begin with to agree to a tunnel with shape s, which
// has the defaults.
func (s Shape) offer(sessionID *[32]byte) []byte {
	b := tunnelMark(sessionID)
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Cell))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Every/time.Millisecond))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Burst))
	return binary.LittleEndian.AppendUint32(b, uint32(max(0, s.Fakes)/time.Millisecond))
}

func tunnelMark(sessionID *[32]byte) []byte {
	mac := hmac.New(sha256.New, sessionID[:])
	mac.Write([]byte(tunnelLabel))
	return mac.Sum(nil)[:tunnelTag]
}

// say returns what the next decoy has to say, once.
func (t *tunnel) say() []byte {
	say := t.toSay
	t.toSay = nil
	return say
}

// hear looks into the first decoy of the peer. The reading goroutine calls it.
func (s *shaper) hear(contents []byte) {
	if s.shape.Mode != ShapeTunnel || len(contents) < tunnelTag+tunnelParams ||
		!hmac.Equal(contents[:tunnelTag], tunnelMark(&s.sessionID)) {
		return
	}
	p := contents[tunnelTag:]
	s.asks = tunnelParam4{binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:]),
		binary.LittleEndian.Uint32(p[8:]), binary.LittleEndian.Uint32(p[12:])}
	s.heard.Store(true)
	if !s.initiator {
		s.cells.timer.Reset(0) // this goroutine must not wait for a writer
	}
}

// awaitGrant notes whether the other end has agreed, or will not. An initiator has cells
// meanwhile.
func (s *shaper) awaitGrant(now time.Time) {
	t := &s.tunnel
	if s.shape.Mode != ShapeTunnel || !t.initiator || t.agreed || t.gaveUp {
		return
	}
	switch {
	case t.heard.Load():
		t.agreed = true
		s.change(ShapeTunnel, ShapeAgreed)
	case now.Sub(t.began) > grantTimeout:
		t.gaveUp = true
		s.change(ShapeCover, ShapeNotAgreed)
	}
}

// grant clamps s to what the other end asks for, and answers.
func (s *shaper) grant() {
	t := &s.tunnel
	s.shape.Cell = clamp(int(min(t.asks.cell, maxCell)), minCell, s.shape.Cell)
	s.shape.Every = clamp(time.Duration(t.asks.everyMillis)*time.Millisecond, s.shape.Every, maxEvery)
	s.shape.Burst = clamp(int(min(t.asks.burst, maxBurst)), minBurst, s.shape.Burst)
	t.agreed = true
	t.toSay = s.shape.offer(&t.sessionID)
}

func clamp[T int | time.Duration](v, low, high T) T { return max(low, min(v, max(low, high))) }

// mode returns the mode in force while there is budget.
func (t *tunnel) mode(m ShapeMode) ShapeMode {
	if m == ShapeTunnel && t.gaveUp {
		return ShapeCover
	}
	return m
}
