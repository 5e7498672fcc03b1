package terminal

import (
	"slices"
	"strings"
	"testing"

	"bip324proxy/proxy"
)

// Shaped sessions have two more columns, and a line with what they cost.
func TestRenderShaped(t *testing.T) {
	r := report()
	r.Sessions = r.Sessions[3:]
	r.Sessions[1].Shaping = proxy.Shaping{Shape: "cover", FillerToPeer: 8_100_000}
	r.Shaped.Live = map[string]int{"cover": 7, "pad": 1, "tunnel": 0}
	r.Shaped.LastDay = proxy.Filler{ToPeer: 43_700_000, FromPeer: 120}
	r.Filler.ToPeer = 91_000_000
	lines := Render(r, Screen{})
	wantLines(t, lines[4:5], `
traffic shaping: 1 pad, 7 cover; filler in the last 24 hours: 44 MB to peers, 120 B from peers
`)
	i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "TRANSPORT") })
	wantLines(t, lines[i:i+3], `
NO    AGE  TRANSPORT   SHAPE  NETWORK  DESTINATION                                                              IN     OUT  FILLER  MESSAGES  LAST      PEER
88   3h3m  v1 overlay         mainnet  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion:8333  1.2 MB  9.9 kB             40/20  -/-
 3  3h12m  v2          cover  mainnet  [2001:db8::4]:8333                                                   123 GB   77 kB  8.1 MB  9000/812  inv/pong  /Satoshi:30.0.0(<b>??)/
`)

	r.Inbound = &proxy.InboundSnapshot{Counts: proxy.Counts{ShapingTotals: proxy.ShapingTotals{Filler: proxy.Filler{ToPeer: 1}, ShapeOverflows: 2}}}
	r.ShapeOverflows, r.Shaped.Live, r.Filler.ToPeer = 1, nil, 0
	if got, want := shaping(r), "traffic shaping: no live session; filler in the last 24 hours: 44 MB to peers, 120 B from peers; backlogs too large for the shape: 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
