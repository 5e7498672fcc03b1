package main

import (
	"math"
	"testing"
	"time"
)

// curveOf returns a curve of windows with the given scores, in sessions by turns.
func curveOf(positive, negative []float64) curve {
	var windows []window
	var scores []float64
	for i, s := range positive {
		windows, scores = append(windows, window{session: i % 2, positive: true}), append(scores, s)
	}
	for i, s := range negative {
		windows, scores = append(windows, window{session: i % 2}), append(scores, s)
	}
	return newCurve(windows, scores)
}

// TestFigures computes figures of scores that are known.
func TestFigures(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i) / 100
	}
	for name, test := range map[string]struct {
		positive, negative []float64
		want               figures
	}{
		"apart":           {[]float64{0.9, 0.8}, []float64{0.1, 0.2}, figures{1, 1, 1}},
		"the wrong way":   {[]float64{0.1}, []float64{0.2, 0.9}, figures{}},
		"all the same":    {[]float64{0.5, 0.5}, []float64{0.5, 0.5, 0.5}, figures{0.5, 0.01, 0}},
		"by turns":        {[]float64{0.9, 0.5}, []float64{0.7, 0.3}, figures{0.75, 0.5, 0.5}},
		"one false alarm": {[]float64{0.995, 0.985, 0.975, 0.1}, hundred, figures{AUC: (1 + 0.99 + 0.98 + 0.105) / 4, TPR: 0.5, TPR0: 0.25}},
	} {
		got, ok := curveOf(test.positive, test.negative).figures(nil)
		if !ok || math.Abs(got.AUC-test.want.AUC) > 1e-9 || math.Abs(got.TPR-test.want.TPR) > 1e-9 || got.TPR0 != test.want.TPR0 {
			t.Errorf("%s: %+v, %v; must be %+v", name, got, ok, test.want)
		}
	}
	if got, ok := curveOf([]float64{1}, nil).figures(nil); ok {
		t.Errorf("%+v without windows to compare with", got)
	}
}

// TestFiguresWeighted counts one session twice and the other not at all.
func TestFiguresWeighted(t *testing.T) {
	c := curveOf([]float64{0.9, 0.1}, []float64{0.5, 0.6}) // session 0 is right, session 1 wrong
	for auc, weights := range map[float64][]int{1: {2, 0}, 0: {0, 2}, 0.5: {1, 1}} {
		if got, ok := c.figures(weights); !ok || got.AUC != auc {
			t.Errorf("weights %v: AUC %v, %v; must be %v", weights, got.AUC, ok, auc)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{3, 1, 2, 5, 4}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.875: 4.5, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("the %v-quantile is %v; must be %v", q, got, want)
		}
	}
}

// TestBound bounds values so that a further one is over it as often as is asked for.
func TestBound(t *testing.T) {
	values := make([]float64, 39)
	for i := range values {
		values[i] = float64(i + 1)
	}
	for q, want := range map[float64]float64{0.975: 39, 0.95: 38, 0.5: 20, 0.999: 39} {
		if got := bound(values, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v of further values are to be under %v; must be %v", q, got, want)
		}
	}
	if got := bound([]float64{7}, 0.5); got != 7 {
		t.Errorf("the bound of one value, 7, is %v", got)
	}
}

// TestWindows draws windows of sessions: those with the event have it in their first two seconds, those without have it
// neither in them nor in the seconds before.
func TestWindows(t *testing.T) {
	c := &cell{}
	for range 5 {
		s := &Session{Length: 2 * time.Minute}
		for at := time.Duration(0); at < s.Length; at += 23 * time.Second {
			s.Actions = append(s.Actions, Action{At: at, Kind: "tx"}, Action{At: at + 11*time.Second, Kind: "ping"})
		}
		c.sessions = append(c.sessions, s)
	}
	for seed := range uint64(20) {
		var count [2]int
		for _, w := range c.windows(task{Kind: "tx"}, nil, newRand(seed)) {
			count[class(w.positive)]++
			if w.start < 0 || w.start+span > 2*time.Minute {
				t.Fatalf("a window at %v goes beyond the session", w.start)
			}
			near, before := false, false
			for _, a := range c.sessions[w.session].Actions {
				if a.Kind == "tx" {
					near = near || a.At >= w.start && a.At <= w.start+2*lead
					before = before || a.At >= w.start-guard && a.At < w.start+span
				}
			}
			if w.positive != near || w.positive != before {
				t.Fatalf("a window at %v: with the event %v, that is in its beginning %v, in or before it %v", w.start, w.positive, near, before)
			}
		}
		if count[1] != 5*4 || count[0] < 100 { // the first and last events are too near to the ends
			t.Fatalf("%d windows with the event, %d without", count[1], count[0])
		}
	}
}

// TestWindowsTurned turns events round: they are as many, and far from the true ones unless these follow each other so.
func TestWindowsTurned(t *testing.T) {
	c := &cell{sessions: []*Session{{Length: 2 * time.Minute, Actions: []Action{{At: time.Minute, Kind: "tx"}}}}}
	for seed := range uint64(100) {
		for _, w := range c.windows(task{Kind: "tx"}, c.turned(newRand(seed)), newRand(seed)) {
			if w.positive && w.start < time.Minute+lead && w.start+span > time.Minute {
				t.Fatalf("a window at %v has the true event", w.start)
			}
		}
	}
}

// TestWindowsWithout draws windows of events that nothing else follows: the others are neither with nor without.
func TestWindowsWithout(t *testing.T) {
	c := &cell{sessions: []*Session{{Length: 2 * time.Minute, Actions: []Action{{At: 30 * time.Second, Kind: "announce"}, {At: 33 * time.Second, Kind: "block"},
		{At: 80 * time.Second, Kind: "announce"}, {At: 88 * time.Second, Kind: "block"}}}}}
	for seed := range uint64(20) {
		count := 0
		for _, w := range c.windows(task{Kind: "announce", Without: "block"}, nil, newRand(seed)) {
			if w.start > 23*time.Second && w.start < 30*time.Second || w.positive && (w.start < 78*time.Second || w.start > 80*time.Second) {
				t.Fatalf("a window at %v, with the event %v", w.start, w.positive)
			}
			count += class(w.positive)
		}
		if count != 1 {
			t.Fatalf("%d windows have the event", count)
		}
	}
}

// TestWindowsControlled draws windows around the ends of actions: some with the event, some without, at the same times after
// what came before. Turned labels are as many, and other ones.
func TestWindowsControlled(t *testing.T) {
	s := &Session{Length: 4 * time.Minute}
	fetched := map[time.Duration]bool{}
	for i := range 10 {
		at := time.Duration(i+1) * 20 * time.Second
		s.Actions = append(s.Actions, Action{At: at, Kind: "filters", Until: at + time.Second})
		if i%5 == 0 {
			s.Actions = append(s.Actions, Action{At: at + time.Second + 30*ms, Kind: "block"})
			fetched[at+time.Second] = true
		}
	}
	s.Actions = append(s.Actions, Action{At: 225 * time.Second, Kind: "filters"}) // without an answer
	c := &cell{sessions: []*Session{s}}
	of := task{Kind: "block", Control: "filters"}
	for seed := range uint64(20) {
		for _, turned := range [][]time.Duration{nil, c.turned(newRand(seed))} {
			var count [2]int
			same := 0
			for _, w := range c.windows(of, turned, newRand(seed)) {
				count[class(w.positive)]++
				end := (w.start + 2*lead) / (20 * time.Second) * (20 * time.Second)
				if end+time.Second < w.start || end+time.Second > w.start+2*lead {
					t.Fatalf("a window at %v is not around the end of an action", w.start)
				}
				if w.positive && fetched[end+time.Second] {
					same++
				}
			}
			if count != [2]int{8 * repeats, 2 * repeats} {
				t.Fatalf("there are %d windows without and with the event", count)
			}
			if turned == nil && same != count[1] {
				t.Fatalf("%d of %d windows have the event", same, count[1])
			}
		}
	}
}

// TestFolds splits sessions: each part has as many, give or take one.
func TestFolds(t *testing.T) {
	count := map[int]int{}
	for _, part := range (&cell{sessions: make([]*Session, 12)}).folds(5, newRand(1)) {
		count[part]++
	}
	for part := range 5 {
		if n := count[part]; n < 2 || n > 3 {
			t.Errorf("part %d has %d of 12 sessions", part, n)
		}
	}
}
