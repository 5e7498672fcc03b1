package status

import (
	"testing"
	"time"

	"bip324proxy/proxy"
)

// The filler of the last day is that of 24 hours and the time to the next sample, or that since
// the start, and takes few samples.
func TestFillerOfLastDay(t *testing.T) {
	var d fillerDay
	if got, want := d.of(proxy.Filler{ToPeer: 3, FromPeer: 4}), (proxy.Filler{ToPeer: 3, FromPeer: 4}); got != want {
		t.Errorf("without a sample: got %+v, want %+v", got, want)
	}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s := range 3 * 24 * 60 * 30 { // one sample in two seconds, for three days, one byte a second to peers
		all := proxy.Filler{ToPeer: uint64(2 * s), FromPeer: uint64(s)}
		d.add(began.Add(time.Duration(2*s)*time.Second), all)
		got, want := d.of(all).ToPeer, min(all.ToPeer, 86400)
		if got < want || got > want+600 || d.of(all).FromPeer != got/2 {
			t.Fatalf("after %d s: %+v, want %d bytes to peers", 2*s, d.of(all), want)
		}
	}
	if len(d) > 146 {
		t.Errorf("%d samples kept", len(d))
	}
}

// A peer's session has a shape before the node is connected to, but is not open yet.
func TestCensusShaped(t *testing.T) {
	cover := proxy.Shaping{Shape: "cover"}
	all := newCensus()
	for _, s := range []proxy.SessionInfo{{State: proxy.StateOpen, Shaping: cover}, {State: proxy.StateDialing, Shaping: cover}, {State: proxy.StateOpen}} {
		all.add(&s)
	}
	if counts := all.shaped; counts["cover"] != 1 || counts["pad"] != 0 || len(counts) != len(proxy.Shapes) {
		t.Errorf("got %v", counts)
	}
}
