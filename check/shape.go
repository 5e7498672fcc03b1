package check

import (
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// Shape is the shape of the traffic of some sessions.
type Shape struct {
	transport.Shape
	Listener string // of these sessions; empty: those of clients, unless their listener has one
	Cost     string // in words; empty if none
}

// shapes reports which shapes are set, what they cost, and what they do not hide.
func (s *Subject) shapes() (all []Result) {
	for _, shape := range s.Shapes {
		r := Result{"shape", OK, "clients' sessions: " + shape.String(), ""}
		if shape.Listener != "" {
			r.What = shape.Listener + ": " + shape.String()
		}
		if shape.Cost != "" {
			r.What += "; cost: " + shape.Cost
		}
		switch shape.Mode {
		case transport.ShapeOff:
			continue
		case transport.ShapeCore:
			r.Hint = "it hides no size and no time"
		case transport.ShapePad:
			r.Hint = "it does not hide when something is sent, nor anything that the peer sends"
		case transport.ShapeCover:
			r.Hint = "it does not hide anything that the peer sends"
		case transport.ShapeTunnel:
			r.Hint = "it hides what the peer sends only if the peer is a bip324-proxy with such a shape, too"
		}
		if s.Policy.Dialer.Mode != fallback.Never || !s.Policy.DenyPassthrough {
			r.Hint += "; only sessions on v2 are shaped"
		}
		all = append(all, r)
	}
	return all
}
