package main

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
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
			for _, kind := range []string{"tx", "announce", "block"} {
				for at := uniform(rng, 0, 20*time.Second); at < length-span; at += uniform(rng, 15*time.Second, 35*time.Second) {
					a := Action{At: at, Kind: kind, Size: transactionSizes[rng.IntN(len(transactionSizes))], Until: at + 3*time.Second}
					s.Actions = append(s.Actions, a)
					s.Segments = append(s.Segments, leak(c[0], c[1], a, rng)...)
				}
			}
			slices.SortStableFunc(s.Segments, func(a, b Segment) int { return int((a.At - b.At) / time.Microsecond) })
			slices.SortStableFunc(s.Actions, func(a, b Action) int { return int((a.At - b.At) / time.Microsecond) })
			r.Sessions = append(r.Sessions, s)
		}
	}
	return r
}

func uniform(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)))
}

func TestSpeed(t *testing.T) {
	r := invent(10, 240*time.Second, [][2]string{{"off", "inv"}, {"cover", "inv"}}, func(mode, client string, a Action, rng *rand.Rand) []Segment {
		if mode == "off" {
			return []Segment{{At: a.At + 10*time.Millisecond, Up: a.Kind == "tx", Bytes: a.Size}}
		}
		return nil
	})
	began := time.Now()
	report := attack(r, []uint64{1})
	t.Log(time.Since(began))
	t.Log("\n" + report.Markdown())
	if _, err := json.Marshal(report); err != nil {
		t.Error(err)
	}
	_ = strings.Repeat
}
