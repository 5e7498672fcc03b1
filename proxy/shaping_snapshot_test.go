package proxy_test

import (
	"context"
	"net"
	"slices"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// paddingPeer speaks v2 and fills up what it sends. It answers each message with itself.
func paddingPeer(nc *net.TCPConn, _ int) {
	cfg := peerConfig(mainnet)
	cfg.Shape = transport.Shape{Mode: transport.ShapePad}
	c, err := transport.Server(context.Background(), nc, cfg)
	if err != nil {
		return
	}
	for {
		p, err := c.ReadPacket()
		if err != nil || c.WritePacket(slices.Clone(p)) != nil {
			return
		}
	}
}

// A session on v2 shows its shape, and the filler of both sides, which its traffic leaves out; the
// totals keep it. Sessions on v1 and passthroughs have neither.
func TestSnapshotOfShapes(t *testing.T) {
	t.Parallel()
	peers := new(fallback.Peers)
	peers.Note("v1.example:8333", fallback.SpeaksV1)
	e := start(t, &proxy.Server{Policy: proxy.Policy{
		Dialer: fallback.Dialer{Mode: fallback.Always, Peers: peers},
		Shape:  transport.Shape{Mode: transport.ShapePad},
	}})
	e.net.peer("v2.example:8333", paddingPeer)
	e.v1Node(t, "v1.example:8333", fin)
	e.net.peer("echo.example:1", echo)

	client := e.connect("v2.example:8333")
	client.Write(v1Message(mainnet, "version", version))
	if name, _, err := readV1(client); name != "version" || err != nil {
		t.Errorf("got %s, %v", name, err)
	}
	client.Write(v1Message(mainnet, "ping", version[:8]))
	if name, _, err := readV1(client); name != "ping" || err != nil {
		t.Errorf("got %s, %v", name, err)
	}
	now := e.until("filler", func(s proxy.Snapshot) bool {
		return min(s.Sessions[0].FillerFromPeer, s.Sessions[0].FillerToPeer) > 512
	})
	live := now.Sessions[0]
	if want := uint64(2*24 + len(version) + 8); live.Shape != "pad" || live.ShapeOverflows != 0 || live.BytesToPeer != want || live.BytesToClient != want {
		t.Errorf("got %+v, want %d bytes each way", live, want)
	}
	if got, want := now.Filler, (proxy.Filler{ToPeer: live.FillerToPeer, FromPeer: live.FillerFromPeer}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	client.Close()
	before := ended(e, client).Filler
	if before.ToPeer < live.FillerToPeer || before.FromPeer < live.FillerFromPeer {
		t.Errorf("totals %+v after the end, want %+v or more", before, live.Shaping)
	}

	for dest, say := range map[string][]byte{"v1.example:8333": v1Message(mainnet, "version", version), "echo.example:1": []byte("no bitcoin")} {
		other := e.connect(dest)
		other.Write(say)
		now := e.until("the session", func(s proxy.Snapshot) bool { return s.Sessions[0].Transport != "" })
		if got := now.Sessions[0].Shaping; got != (proxy.Shaping{}) || now.Filler != before {
			t.Errorf("%s: got %+v, totals %+v, want none and %+v", dest, got, now.Filler, before)
		}
		ended(e, other)
	}
}
