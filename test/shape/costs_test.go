package main

import (
	"math"
	"testing"
	"time"

	"bip324proxy/transport"
)

// TestCosts computes the costs of a cell by hand.
func TestCosts(t *testing.T) {
	session := func(mode string, up, down int, took ...time.Duration) *Session {
		s := &Session{Mode: mode, Client: "inv", Length: 100 * time.Second,
			Segments: []Segment{{At: time.Second, Up: true, Bytes: up}, {At: 2 * time.Second, Bytes: down}}}
		for i, d := range took {
			a := Action{At: time.Duration(i) * 10 * time.Second, Kind: "tx"}
			if d > 0 {
				a.Until = a.At + d
			}
			s.Actions = append(s.Actions, a)
		}
		return s
	}
	off := &cell{mode: modeOff, client: "inv", sessions: []*Session{session(modeOff, 1000, 3000)}}
	c := &cell{mode: modeCover, client: "inv", sessions: []*Session{session(modeCover, 4000, 2000, time.Second, 3*time.Second, 0), session(modeCover, 6000, 4000, 2*time.Second)}}
	r := &Recording{Cells: []Cell{{Mode: modeCover, Client: "push", CPU: time.Hour}, {Mode: modeCover, Client: "inv", Shape: "cover", CPU: time.Second, CPUFar: time.Second,
		Overflows: 3, Disconnected: 2, MinPings: []time.Duration{60 * ms, 80 * ms, 70 * ms}, Pings: []time.Duration{time.Second}}}}
	got := costsOf(r, c, off)
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
	if got.Up != 50 || got.Down != 30 || got.Factor != 2 || !near(got.MBPerDay, 4.32) || !near(got.MBError, 0.864) || got.Sessions != 2 {
		t.Errorf("bytes are %+v", got)
	}
	if d := got.Transaction; d.Median != 2*time.Second || d.Count != 3 || d.Of != 4 || d.Most < 2800*ms || d.Most > 3*time.Second {
		t.Errorf("own transactions took %+v", d)
	}
	if got.Announce.Count != 0 || got.Announce.String() != "" {
		t.Errorf("announcements took %+v", got.Announce)
	}
	if !near(got.CPU, 36) || got.Overflows != 3 || got.Disconnected != 2 || got.MinPing.Median != 70*ms || got.LastPing.Median != time.Second || got.Shape != "cover" {
		t.Errorf("the rest is %+v", got)
	}
	if got.Added != nil || !near(got.Mainnet, 44.2368) {
		t.Errorf("added is %v without transactions to compare with, and a day has %v MB; must be 1,024 bytes every 2 s", got.Added, got.Mainnet)
	}
	off.sessions[0].Actions = []Action{{Kind: "tx", Until: 500 * ms}}
	if got := costsOf(r, c, off); got.Added == nil || *got.Added != 1500*ms {
		t.Errorf("added is %v; must be 1.5 s", got.Added)
	}
	if got := costsOf(&Recording{}, c, nil); got.Factor != 0 || got.CPU != 0 || got.MinPing.Count != 0 {
		t.Errorf("without what to compare with: %+v", got)
	}
}

// TestMainnet computes what a day on mainnet takes: that a recording has more false bursts changes nothing.
func TestMainnet(t *testing.T) {
	cellOf := func(mode, client string, sizes ...int) *cell {
		s := &Session{Length: time.Minute}
		for i, n := range sizes {
			s.Segments = append(s.Segments, Segment{At: time.Duration(i+1) * time.Second, Up: true, Bytes: n}, Segment{At: time.Duration(i+1) * time.Second, Bytes: 5000})
		}
		return &cell{mode: mode, client: client, sessions: []*Session{s}}
	}
	for _, test := range []struct {
		c     *cell
		shape string
		want  float64
	}{
		{cellOf(modeOff, "inv", 100, 300), "off", 200 * writesADay / 1e6},
		{cellOf(modePad, "push", 1024, 2048), "pad", 1536 * writesADay / 1e6},
		{cellOf(modePad, "noisy", 1024), "pad", 0},
		{cellOf(modeCover, "noisy", 70_000), "cover,every=4s", 1024 * 86400 / 4 / 1e6},
		{cellOf(modeTunnel, "inv", 1024), fasterTunnel, float64(transport.Shape{Mode: transport.ShapeTunnel}.FillerPerDay()) / 1e6},
		{cellOf(modeTunnel, "inv", 1024), "tunnel,fakes=off", float64(transport.Shape{Mode: transport.ShapeTunnel}.FillerPerDay()) / 1e6},
		{cellOf(modePad, "inv", 1024), "?", 0},
	} {
		if got := test.c.mainnet(test.shape); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s, %s: %v MB; must be %v", test.shape, test.c.client, got, test.want)
		}
	}
	if perDay := cellOf(modeTunnel, "inv").mainnet(fasterTunnel); perDay < 90 || perDay > 104 {
		t.Errorf("a tunnel sends %v MB a day: the budget is used up, or false bursts are missing", perDay)
	}
}
