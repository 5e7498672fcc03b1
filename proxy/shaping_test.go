package proxy

import (
	"slices"
	"testing"

	"bip324proxy/transport"
)

// The totals have what shaping did in live sessions and in those that have ended, and do not
// change when a session ends.
func TestShapingTotals(t *testing.T) {
	server := new(Server)
	server.Snapshot() // sets it up
	shapings := map[bool]Shaping{
		false: {Shape: "cover", FillerToPeer: 100, FillerFromPeer: 20, ShapeOverflows: 3},
		true:  {Shape: "pad", FillerToPeer: 7},
	}
	var all []*session
	for inbound, shaping := range shapings {
		s := &session{server: server, budget: &server.outbound, shown: SessionInfo{Number: uint64(len(all)), Inbound: inbound, State: StateOpen, Transport: "v2"}}
		if inbound {
			s.budget = &server.inbound
		}
		server.add(s)
		s.setShaping(func() transport.Shaping {
			return transport.Shaping{Mode: transport.ShapeMode(shaping.Shape), SentReal: 1 << 40,
				SentFiller: shaping.FillerToPeer, ReceivedFiller: shaping.FillerFromPeer, Overflows: shaping.ShapeOverflows}
		})
		all = append(all, s)
	}
	check := func(when string, live int) {
		t.Helper()
		now := server.Snapshot()
		var outbound, inbound Counts
		server.count(&outbound, &inbound, 0, nil)
		if got, want := now.ShapingTotals, (ShapingTotals{Filler{100, 20}, 3}); got != want {
			t.Errorf("%s: outbound %+v, want %+v", when, got, want)
		}
		if got, want := inbound.ShapingTotals, (ShapingTotals{Filler{7, 0}, 0}); got != want {
			t.Errorf("%s: inbound %+v, want %+v", when, got, want)
		}
		if len(now.Sessions) != live {
			t.Errorf("%s: %d sessions, want %d", when, len(now.Sessions), live)
		}
		for _, s := range now.Sessions {
			if s.Shaping != shapings[s.Inbound] {
				t.Errorf("%s: %+v, want %+v", when, s.Shaping, shapings[s.Inbound])
			}
		}
	}
	check("live", 2)
	for _, s := range all {
		server.remove(s, Outcome{Transport: "v2"})
	}
	check("ended", 0)
}

func TestShapes(t *testing.T) {
	for _, name := range Shapes {
		if shape, err := transport.ParseShape(name); err != nil || string(shape.Mode) != name {
			t.Errorf("%s: got %q, %v", name, shape.Mode, err)
		}
	}
	if !slices.Contains(Shapes, "tunnel") || len(Shapes) != len(transport.ShapeModes)-1 {
		t.Errorf("got %v", Shapes)
	}
}
