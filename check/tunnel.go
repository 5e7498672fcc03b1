package check

import (
	"io"
	"slices"
	"time"

	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// tunnelPatience is how long the other end of a tunnel may take to answer: it does so once it
// has read our VERSION.
const tunnelPatience = 5 * time.Second

// tunnel returns the shape of a tunnel, if sessions with peer may have one, and a channel that is
// closed when the peer takes part in it.
func (s *Subject) tunnel(peer string) (shape transport.Shape, agreed chan struct{}) {
	for _, shape := range s.Shapes {
		inbound := slices.ContainsFunc(s.Inbound, func(in Inbound) bool { return in.Address == shape.Listener })
		elsewhere := slices.ContainsFunc(s.Listeners, func(l Listener) bool {
			return l.Address == shape.Listener && l.Peer != "" && l.Peer != peer
		})
		if shape.Mode != transport.ShapeTunnel || inbound || elsewhere {
			continue
		}
		agreed := make(chan struct{})
		shape.Changed = func(c transport.ShapeChange) {
			if c.Reason == transport.ShapeAgreed {
				close(agreed)
			}
		}
		return shape.Shape, agreed
	}
	return shape, nil
}

// awaitTunnel reports whether the peer takes part in the tunnel, if there is one.
func (p *prober) awaitTunnel(conn *v1v2.Conn, agreed <-chan struct{}) {
	if agreed == nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(tunnelPatience))
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, conn)
		close(ended)
	}()
	select {
	case <-agreed:
	case <-ended:
	}
	conn.SetReadDeadline(time.Now())
	<-ended
	select {
	case <-agreed:
		p.report.add(Result{"tunnel", OK, "the peer takes part in the tunnel", ""})
		return
	default:
	}
	p.report.add(Result{"tunnel", Warning, "the peer does not take part in the tunnel: only what is sent to it would be shaped, as with cover",
		"if it is yours, run bip324-proxy there, with --inbound ADDRESS=NODE and --shape ADDRESS=tunnel"})
}
