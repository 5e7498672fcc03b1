package main

import (
	"slices"
	"testing"
	"time"
)

// TestFeaturesOfWindow checks that features say the same of the same segments, whenever they were and whatever was around the
// window, and that there are as many in each window.
func TestFeaturesOfWindow(t *testing.T) {
	inside := []Segment{{At: 0, Up: true, Bytes: 58}, {At: 2 * time.Second, Bytes: 58}, {At: 2*time.Second + time.Millisecond, Up: true, Bytes: 246},
		{At: span - time.Microsecond, Bytes: 103}}
	want := features(inside, 0)
	var later []Segment
	const start = 100 * time.Second
	later = append(later, Segment{At: start - time.Microsecond, Up: true, Bytes: 4096})
	for _, s := range inside {
		s.At += start
		later = append(later, s)
	}
	later = append(later, Segment{At: start + span, Bytes: 4096})
	if got := features(later, start); !slices.Equal(got, want) {
		t.Errorf("features are %v, and at another time %v", want, got)
	}
	if n := len(features(nil, 0)); n != len(want) {
		t.Errorf("an empty window has %d features, another %d", n, len(want))
	}
	if slices.Equal(want, features(inside[1:], 0)) {
		t.Error("features do not depend on the first segment")
	}
	tail := want[len(want)-6:] // asked, wait, sent, headers, pings, answer
	if !slices.Equal(tail, []float32{1, 2, 246, 1, 0, 2}) {
		t.Errorf("the patterns are %v", tail)
	}
}

// TestFeaturesManySegments takes features of more segments than are features.
func TestFeaturesManySegments(t *testing.T) {
	var many []Segment
	for i := range 10000 {
		many = append(many, Segment{At: time.Duration(i) * time.Millisecond, Up: i%3 == 0, Bytes: i})
	}
	if got, want := len(features(many, time.Second)), len(features(nil, 0)); got != want {
		t.Errorf("%d features; must be %d", got, want)
	}
}

// TestViews checks which segments views show.
func TestViews(t *testing.T) {
	all := []Segment{{At: 1, Up: true}, {At: 2}, {At: 3, Up: true}}
	for v, want := range map[view]int{viewBoth: 3, viewUp: 2, viewDown: 1} {
		seen := v.of(all)
		if len(seen) != want {
			t.Errorf("%s shows %d segments; must be %d", v, len(seen), want)
		}
		for _, s := range seen {
			if v != viewBoth && s.Up != (v == viewUp) {
				t.Errorf("%s shows %+v", v, s)
			}
		}
	}
}
