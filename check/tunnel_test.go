package check

import (
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// A peer is asked for a tunnel if clients' sessions have one, and the report says whether it takes
// part.
func TestTunnelOfPeer(t *testing.T) {
	tunnel := transport.Shape{Mode: transport.ShapeTunnel}
	for _, c := range []struct {
		name   string
		peer   transport.Shape
		shapes []Shape
		want   string
	}{
		{"both ends", tunnel, []Shape{{Shape: tunnel}}, " ok tunnel the peer takes part in the tunnel"},
		{"a listener", tunnel, []Shape{{Shape: transport.Shape{Mode: transport.ShapePad}}, {Shape: tunnel, Listener: "127.0.0.1:1"}},
			" ok tunnel the peer takes part in the tunnel"},
		{"one end", transport.Shape{}, []Shape{{Shape: tunnel}},
			" warning tunnel the peer does not take part in the tunnel: only what is sent to it would be shaped, as with cover " +
				"-> if it is yours, run bip324-proxy there, with --inbound ADDRESS=NODE and --shape ADDRESS=tunnel"},
		{"a peers' listener", tunnel, []Shape{{Shape: tunnel, Listener: "127.0.0.1:2"}}, ""},
		{"a listener for another peer", tunnel, []Shape{{Shape: tunnel, Listener: "127.0.0.1:3"}}, ""},
		{"no tunnel", tunnel, []Shape{{Shape: transport.Shape{Mode: transport.ShapeCover}}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			peer := newV2Peer(mainnet)
			peer.shape = c.peer
			subject := &Subject{Shapes: c.shapes, Inbound: []Inbound{{Address: "127.0.0.1:2"}},
				Listeners: []Listener{{Address: "127.0.0.1:1"}, {Address: "127.0.0.1:3", Peer: "192.0.2.1:8333"}}}
			r := PeerReport(within(t), subject, target(t, testkit.Serve(t, peer.handle)))
			if got, want := text(t, &r), "ok connect ADDR: connected to ADDR in TIME "+goodV2+goodVersion+c.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
