package proxy

import (
	"slices"

	"bip324proxy/transport"
)

// Shapes are all that Shaping.Shape may be, besides empty.
var Shapes = slices.DeleteFunc(slices.Clone(transport.ShapeModes), func(mode string) bool { return mode == transport.ShapeOff.String() })

// Shaping is what traffic shaping does in a session. Sessions on v1 and passthroughs have none.
type Shaping struct {
	Shape          string `json:"shape,omitempty"`            // the mode in force, one of Shapes; empty if off
	FillerToPeer   uint64 `json:"filler_to_peer,omitempty"`   // bytes in decoys
	FillerFromPeer uint64 `json:"filler_from_peer,omitempty"` // bytes in decoys, also if the peer sends them unasked
	ShapeOverflows uint64 `json:"shape_overflows,omitempty"`  // times that a backlog was too large for the shape
}

// ShapingTotals count what shaping did in all sessions.
type ShapingTotals struct {
	Filler         Filler `json:"filler"`
	ShapeOverflows uint64 `json:"shape_overflows"` // times that a backlog was too large for its session's shape
}

// Filler is how many bytes went in decoys each way. Traffic leaves them out.
type Filler struct {
	ToPeer   uint64 `json:"to_peer"`
	FromPeer uint64 `json:"from_peer"`
}

// setShaping sets the function that returns what the session's shape does: transport.Conn's.
func (s *session) setShaping(f func() transport.Shaping) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shaping = f
}

// shapingNow returns what shaping does, and has done, in the session.
func (s *session) shapingNow() Shaping {
	s.mu.Lock()
	f := s.shaping
	s.mu.Unlock()
	if f == nil {
		return Shaping{}
	}
	now := f()
	return Shaping{string(now.Mode), now.SentFiller, now.ReceivedFiller, now.Overflows}
}

func (t *ShapingTotals) add(s Shaping) {
	t.Filler.ToPeer += s.FillerToPeer
	t.Filler.FromPeer += s.FillerFromPeer
	t.ShapeOverflows += s.ShapeOverflows
}
