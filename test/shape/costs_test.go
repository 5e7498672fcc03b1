package main

import (
	"math"
	"testing"
	"time"
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
		Overflows: 3, Disconnected: 2, MinPings: []time.Duration{60 * ms, 80 * ms, 70 * ms}}}}
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
	if !near(got.CPU, 36) || got.Overflows != 3 || got.Disconnected != 2 || got.MinPing.Median != 70*ms || got.Shape != "cover" {
		t.Errorf("the rest is %+v", got)
	}
	if got := costsOf(&Recording{}, c, nil); got.Factor != 0 || got.CPU != 0 || got.MinPing.Count != 0 {
		t.Errorf("without what to compare with: %+v", got)
	}
}
