package main

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// invent returns a recording of cells of n sessions each, in which traffic appears at random times, and actions of which
// leak says what they add to it.
func invent(n int, length time.Duration, cells [][2]string, leak func(mode, client string, a Action, rng *rand.Rand) []Segment) *Recording {
	r := &Recording{RTT: 50 * time.Millisecond, Length: length, Node: "/Invented:1/"}
	for _, c := range cells {
		r.Cells = append(r.Cells, Cell{Mode: c[0], Client: c[1], Shape: c[0], MinPings: []time.Duration{60 * time.Millisecond}})
		for range n {
			id := len(r.Sessions) + 1
			rng := newRand(uint64(id), "invent")
			s := Session{ID: id, Mode: c[0], Client: c[1], Seed: uint64(id), Length: length}
			for at := uniform(rng, 0, 2*time.Second); at < length; at += uniform(rng, 0, 2*time.Second) {
				s.Segments = append(s.Segments, Segment{At: at, Up: rng.IntN(2) == 0, Bytes: []int{29, 58, 135, 1024}[rng.IntN(4)]})
			}
			for _, kind := range []string{"tx", "announce", "filters"} {
				for at := uniform(rng, 0, 20*time.Second); at < length-span; at += uniform(rng, 15*time.Second, 35*time.Second) {
					a := Action{At: at, Kind: kind, Size: transactionSizes[rng.IntN(len(transactionSizes))], Until: at + 3*time.Second}
					s.Actions = append(s.Actions, a)
					if kind == "filters" && rng.IntN(2) == 0 {
						a = Action{At: a.Until, Kind: "block", Size: 1000 + rng.IntN(100000)}
						s.Actions = append(s.Actions, a)
					}
					s.Segments = append(s.Segments, leak(c[0], c[1], a, rng)...)
				}
			}
			slices.SortStableFunc(s.Segments, func(a, b Segment) int { return cmp.Compare(a.At, b.At) })
			slices.SortStableFunc(s.Actions, func(a, b Action) int { return cmp.Compare(a.At, b.At) })
			r.Sessions = append(r.Sessions, s)
		}
	}
	return r
}

func uniform(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)))
}

// little is enough effort for a test.
var little = effort{trees: 60, turnTrees: 20, turns: 20}

// TestAttackFindsLeak attacks sessions in which each action adds one segment that nothing else looks like, and the same
// with nothing added. The leak is found in the views that see it; nothing is found where there is nothing.
func TestAttackFindsLeak(t *testing.T) {
	r := invent(6, 3*time.Minute, [][2]string{{modeOff, "inv"}, {modeCover, "inv"}}, func(mode, _ string, a Action, rng *rand.Rand) []Segment {
		if mode == modeCover || a.Kind == "filters" {
			return nil
		}
		return []Segment{{At: a.At + uniform(rng, 0, time.Second), Up: a.Kind == "tx", Bytes: map[string]int{"tx": 777, "announce": 103, "block": 9999}[a.Kind]}}
	})
	report := little.attack(r, []uint64{1, 2})
	seen := map[string]view{"tx": viewUp, "announce": viewDown, "announce alone": viewDown, "block": viewDown}
	for _, result := range report.Results {
		leaks := result.Mode == modeOff && (result.View == seen[result.Task] || result.View == viewBoth)
		what := result.Task + " " + result.Mode + " " + string(result.View)
		if result.Positive < 20 || result.Negative < 50 || len(result.AUC.Seeds) != 2 {
			t.Errorf("%s: %d windows with and %d without the action, %d seeds", what, result.Positive, result.Negative, len(result.AUC.Seeds))
		}
		switch {
		case leaks && (result.AUC.Low < 0.97 || result.TPR.Low < 0.8 || result.AtChance):
			t.Errorf("%s: AUC %s, TPR %s, at chance %v; must be found", what, result.AUC, result.TPR, result.AtChance)
		case !leaks && (result.AUC.Mean > 0.6 || result.TPR.Mean > 0.1):
			t.Errorf("%s: AUC %s, TPR %s; must be guessing", what, result.AUC, result.TPR)
		}
		if result.Chance.AUC < 0.5 || result.Chance.AUC > 0.8 {
			t.Errorf("%s: forests that learned from turned labels have an AUC of up to %.2f", what, result.Chance.AUC)
		}
		if (result.Naive == nil) != (result.Mode == modeOff) {
			t.Errorf("%s: learned from unshaped sessions %v", what, result.Naive)
		}
		if result.Improved != (result.Mode == modeCover && report.result(result.Task, modeOff, "inv", result.View).TPR.Low > 0.8) || result.Worse {
			t.Errorf("%s: improved %v, worse %v", what, result.Improved, result.Worse)
		}
	}
	chance := 0
	for _, result := range report.Results {
		if result.Mode == modeCover && result.AtChance {
			chance++
		}
	}
	if chance < 9 { // of 12: some are over chance by chance
		t.Errorf("%d of 12 results for sessions that show nothing are at chance", chance)
	}
}

// TestAttackAdapts attacks shaped sessions that leak otherwise than unshaped ones do: a forest that learned from unshaped
// ones does not find that, one that learned from other shaped ones does.
func TestAttackAdapts(t *testing.T) {
	r := invent(6, 3*time.Minute, [][2]string{{modeOff, "push"}, {modePad, "push"}}, func(mode, _ string, a Action, _ *rand.Rand) []Segment {
		if a.Kind != "tx" {
			return nil
		}
		return []Segment{{At: a.At, Up: true, Bytes: map[string]int{modeOff: 777, modePad: 2048}[mode]}}
	})
	result := little.attack(r, []uint64{1}).result("tx", modePad, "push", viewUp)
	if result.AUC.Mean < 0.97 || result.Naive.TPR > 0.5 {
		t.Errorf("AUC %s if learned from shaped sessions, TPR %.2f if from unshaped ones", result.AUC, result.Naive.TPR)
	}
}

// TestAttackRepeats attacks a recording twice, once with one processor: the reports are the same.
func TestAttackRepeats(t *testing.T) {
	r := invent(4, 90*time.Second, [][2]string{{modeOff, "inv"}, {modeTunnel, "inv"}}, func(_, _ string, a Action, _ *rand.Rand) []Segment {
		return []Segment{{At: a.At, Up: true, Bytes: a.Size}}
	})
	small := effort{trees: 5, turnTrees: 2, turns: 3}
	var texts []string
	for _, n := range []int{0, 1} {
		before := runtime.GOMAXPROCS(n)
		text, err := json.Marshal(small.attack(r, []uint64{1, 2}))
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] {
		t.Error("the reports differ")
	}
}

// TestAttackOfLittle attacks recordings with nothing to learn from: the report says so.
func TestAttackOfLittle(t *testing.T) {
	silent := func(string, string, Action, *rand.Rand) []Segment { return nil }
	few := invent(1, time.Minute, [][2]string{{modeOff, "inv"}}, silent)
	short := invent(2, 20*time.Second, [][2]string{{modePad, "inv"}}, silent)
	idle := invent(3, time.Minute, [][2]string{{modeCover, "push"}}, silent)
	for i := range idle.Sessions {
		idle.Sessions[i].Actions, idle.Sessions[i].Segments = nil, nil
	}
	for name, r := range map[string]*Recording{"empty": {}, "one session": few, "short": short, "idle": idle} {
		report := little.attack(r, []uint64{1})
		for _, result := range report.Results {
			if !result.none() || result.AtChance || result.Improved {
				t.Errorf("%s: %+v", name, result)
			}
		}
		if len(report.Markdown()) == 0 {
			t.Errorf("%s: the report has no tables", name)
		}
		if _, err := json.Marshal(report); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := map[string]int{"short": 2}[name]; report.TooShort != want {
			t.Errorf("%s: %d sessions are too short; must be %d", name, report.TooShort, want)
		}
	}
}
