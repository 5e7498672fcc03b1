package main

import (
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// TestAskedFor tries the rule for announced transactions on sequences made by hand.
func TestAskedFor(t *testing.T) {
	up := func(at time.Duration, n int) Segment { return Segment{At: at, Up: true, Bytes: n} }
	down := func(at time.Duration, n int) Segment { return Segment{At: at, Bytes: n} }
	for name, test := range map[string]struct {
		segments []Segment
		want     []time.Duration
	}{
		"inv, getdata, tx":     {[]Segment{up(1000*ms, 58), down(3050*ms, 58), up(3051*ms, 246)}, []time.Duration{1000 * ms}},
		"with a ping between":  {[]Segment{up(1000*ms, 58), up(1100*ms, 29), down(1150*ms, 29), down(3050*ms, 58), up(3051*ms, 246)}, []time.Duration{1000 * ms}},
		"twice":                {[]Segment{up(0, 58), down(50*ms, 58), up(51*ms, 246), up(9000*ms, 58), down(9050*ms, 58), up(9051*ms, 300)}, []time.Duration{0, 9000 * ms}},
		"not asked for":        {[]Segment{up(1000*ms, 58), up(1100*ms, 246)}, nil},
		"asked for too late":   {[]Segment{up(1000*ms, 58), down(6001*ms, 58), up(6002*ms, 246)}, nil},
		"sent too late":        {[]Segment{up(1000*ms, 58), down(1050*ms, 58), up(3051*ms, 246)}, nil},
		"a small answer":       {[]Segment{up(1000*ms, 58), down(1050*ms, 58), up(1051*ms, 58)}, nil},
		"padded":               {[]Segment{up(1000*ms, 1024), down(3050*ms, 58), up(3051*ms, 1024)}, nil},
		"the node's direction": {[]Segment{down(1000*ms, 58), up(3050*ms, 58), down(3051*ms, 246)}, nil},
	} {
		if got := askedFor(&Session{Segments: test.segments}); !slices.Equal(got, test.want) {
			t.Errorf("%s: found at %v; must be at %v", name, got, test.want)
		}
	}
}

// TestLoudSeconds tries the rule of volume: a second with over twice the mean of the minute around it.
func TestLoudSeconds(t *testing.T) {
	s := &Session{Length: 90 * time.Second}
	for i := range 90 {
		n := 100
		switch i {
		case 20:
			n = 190 // not over twice the mean
		case 50:
			n = 1000
		}
		s.Segments = append(s.Segments, Segment{At: middle(i), Up: i%2 == 0, Bytes: n})
	}
	if got, want := loudSeconds(s), []time.Duration{middle(50)}; !slices.Equal(got, want) {
		t.Errorf("found at %v; must be at %v", got, want)
	}
	// A silent minute: the first byte is over any multiple of its mean.
	s = &Session{Length: time.Minute, Segments: []Segment{{At: 7 * time.Second, Bytes: 1}}}
	if got, want := loudSeconds(s), []time.Duration{middle(7)}; !slices.Equal(got, want) {
		t.Errorf("found at %v; must be at %v", got, want)
	}
}

// TestRules tries all rules on a cell where they must find each event and nothing else, and on the same cell with other sizes.
func TestRules(t *testing.T) {
	session := func(tx, headers int) *Session {
		s := &Session{Length: 3 * time.Minute, Actions: []Action{{At: 60 * time.Second, Kind: "tx", Size: 225}, {At: 120 * time.Second, Kind: "announce", Size: 1000}}}
		for i := range 180 { // so that nothing but a loud second is loud
			s.Segments = append(s.Segments, Segment{At: time.Duration(i) * time.Second, Up: true, Bytes: 29})
		}
		s.Segments = slices.Insert(s.Segments, 61, Segment{At: 60 * time.Second, Up: true, Bytes: 58}, Segment{At: 60*time.Second + 50*ms, Bytes: 58}, Segment{At: 60*time.Second + 51*ms, Up: true, Bytes: tx})
		s.Segments = append(s.Segments, Segment{At: 120*time.Second + ms, Bytes: headers})
		slices.SortStableFunc(s.Segments, func(a, b Segment) int { return int((a.At - b.At) / time.Millisecond) })
		return s
	}
	for _, test := range []struct {
		tx, headers int
		tpr         map[string]map[string]float64
	}{
		{246, 103, map[string]map[string]float64{"tx": {ruleVolume: 1, ruleBuckets: 1, ruleExact: 1}, "announce": {ruleVolume: 1, ruleBuckets: 1, ruleExact: 1}}},
		{58, 20, map[string]map[string]float64{"tx": {ruleVolume: 1, ruleBuckets: 0, ruleExact: 0}, "announce": {ruleVolume: 0, ruleBuckets: 0, ruleExact: 0}}},
	} {
		c := &cell{mode: modeOff, client: "inv", sessions: []*Session{session(test.tx, test.headers), session(test.tx, test.headers)}}
		for _, kind := range []string{"tx", "announce"} {
			results := tryRules(c, task{Name: kind, Kind: kind}, 1)
			if len(results) != 3 {
				t.Errorf("%s: %d rules", kind, len(results))
			}
			for _, r := range results {
				if want := test.tpr[kind][r.Rule]; r.TPR != want {
					t.Errorf("tx of %d: %s finds %.2f of %s; must be %.2f", test.tx, r.Rule, r.TPR, kind, want)
				}
				// What is loud is loud for who looks for another event.
				if r.Rule != ruleVolume && r.FPR != 0 {
					t.Errorf("tx of %d: %s finds %s in %.2f of the windows without", test.tx, r.Rule, kind, r.FPR)
				}
			}
		}
	}
}
