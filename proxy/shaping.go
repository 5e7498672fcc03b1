package proxy

// Shapes are all that Shaping.Shape may be, besides empty.
var Shapes = []string{"core", "pad", "cover", "tunnel"}

// Shaping is what traffic shaping does in a session. Sessions on v1 and passthroughs have none.
type Shaping struct {
	Shape          string `json:"shape,omitempty"`            // the one in force, of Shapes; empty if off
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

// setShaping sets the function that returns what shaping does in the session from now on.
func (s *session) setShaping(f func() Shaping) {
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
	return f()
}

func (t *ShapingTotals) add(s Shaping) {
	t.Filler.ToPeer += s.FillerToPeer
	t.Filler.FromPeer += s.FillerFromPeer
	t.ShapeOverflows += s.ShapeOverflows
}
