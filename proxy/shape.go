package proxy

import (
	"context"
	"io"
	"log/slog"
	"time"

	"bip324proxy/transport"
)

// shape returns the shape of what the session sends to a v2 peer.
func (s *session) shape() transport.Shape {
	shape, ok := s.policy.Shapes[s.about.address]
	if !ok && s.peer == nil {
		shape = s.policy.Shape
	}
	shape.Changed = s.shapeChanged
	return shape
}

// shapeWords are the lines of the log about a change of the shape.
var shapeWords = map[transport.ShapeReason]string{
	transport.ShapeAgreed:        "tunnel agreed",
	transport.ShapeNotAgreed:     "the peer does not take part in the tunnel: only what is sent to it is shaped, as with cover",
	transport.ShapeBudgetUsed:    "the day's budget is used up: until the day ends, writes are only padded",
	transport.ShapeBudgetRenewed: "a new day's budget: traffic is shaped again",
}

// shapeLevel returns the level of such a line: slog.LevelWarn if less is hidden than was asked for.
func (s *session) shapeLevel(why transport.ShapeReason) slog.Level {
	_, ofListener := s.policy.Shapes[s.about.address]
	if why == transport.ShapeBudgetUsed || why == transport.ShapeNotAgreed && ofListener {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// shapeChanged logs that the shape in force has changed, once the session is open. Any goroutine
// of the connection may call it.
func (s *session) shapeChanged(c transport.ShapeChange) {
	s.mu.Lock()
	if !s.told {
		s.changes = append(s.changes, c)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.logShape(c)
}

// logShapes logs how the shape has changed before the session was open.
func (s *session) logShapes() {
	s.mu.Lock()
	changes := s.changes
	s.changes, s.told = nil, true
	s.mu.Unlock()
	for _, c := range changes {
		s.logShape(c)
	}
}

func (s *session) logShape(c transport.ShapeChange) {
	args := append(s.attrs(), "shape", c.Mode.String(), "cause", string(c.Reason))
	s.server.log().Log(context.Background(), s.lineLevel(s.shapeLevel(c.Reason)), shapeWords[c.Reason], args...)
}

// holdsBack reports whether messages of the client may wait for the connection to the peer to send
// them, as with cover and tunnel.
func (s *session) holdsBack() bool {
	switch transport.ShapeMode(s.shapingNow().Shape) {
	case transport.ShapeCover, transport.ShapeTunnel:
		return true
	}
	return false
}

// maxHeldBack is how long the backlog may take to leave once the client has closed its side:
// transport.Conn.CloseWrite waits for it.
const maxHeldBack = 35 * time.Second

// awaitSent waits until the peer has received what a client sent that takes nothing any more, and
// closes its side. Until then it discards what the peer sends: with bytes unread, closing the
// connection would reset it.
func (s *session) awaitSent(v2 *transport.Conn) {
	giveUp := time.AfterFunc(maxHeldBack+s.server.lingerTimeout(), s.close)
	defer giveUp.Stop()
	s.client.LimitReads(time.Now().Add(leftClientReads))
	io.Copy(io.Discard, v2.NetConn())
}

// leftClientReads is how long a client that takes nothing any more may go on sending.
const leftClientReads = time.Second
