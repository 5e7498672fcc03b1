package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// What the attacker looks at.
const (
	span   = 7 * time.Second         // of a window
	stride = 1500 * time.Millisecond // between windows without an event, on average
	// A window begins lead before its event, give or take half of it: its phase says nothing.
	lead = time.Second
	// guard is how long before a window without an event none may be: an event's last packets come seconds after it.
	guard = 5 * time.Second
	// turn is how far, at least, labels are turned round within a session to see what chance does.
	turn = span + lead
	// repeats is how many windows there are around each moment at which an event may have followed or not.
	repeats = 4
	// minLength is the shortest session that is attacked.
	minLength = 4 * turn
)

// view is what of a session an eavesdropper sees.
type view string

const (
	viewBoth view = "both"
	viewUp   view = "up"
	viewDown view = "down"
)

var views = []view{viewBoth, viewUp, viewDown}

// of returns what of segments is seen.
func (v view) of(segments []Segment) []Segment {
	if v == viewBoth {
		return segments
	}
	seen := make([]Segment, 0, len(segments))
	for _, s := range segments {
		if s.Up == (v == viewUp) {
			seen = append(seen, s)
		}
	}
	return seen
}

// window is span of one of a cell's sessions.
type window struct {
	session  int // its index in the cell
	start    time.Duration
	positive bool // the event is in it
}

// cell holds the sessions of one mode and one kind of client.
type cell struct {
	mode, client string
	sessions     []*Session
}

// cellsOf returns the cells of r in the order of their first sessions, and how many sessions are too short for them.
func cellsOf(r *Recording) (cells []*cell, short int) {
	for i := range r.Sessions {
		s := &r.Sessions[i]
		if s.Length < minLength {
			short++
			continue
		}
		at := slices.IndexFunc(cells, func(c *cell) bool { return c.mode == s.Mode && c.client == s.Client })
		if at < 0 {
			at = len(cells)
			cells = append(cells, &cell{mode: s.Mode, client: s.Client})
		}
		cells[at].sessions = append(cells[at].sessions, s)
	}
	return cells, short
}

// turned returns for each session of c by how much to move its events, round its end: at random, but so far that what was said
// about the traffic is wrong then.
func (c *cell) turned(rng *rand.Rand) []time.Duration {
	by := make([]time.Duration, len(c.sessions))
	for i, s := range c.sessions {
		by[i] = turn + time.Duration(rng.Int64N(int64(s.Length-2*turn)))
	}
	return by
}

// windows returns windows with and without the event that t is about. If turned is not nil, the labels of each session are first
// moved by so much.
func (c *cell) windows(t task, turned []time.Duration, rng *rand.Rand) []window {
	var all []window
	for i, s := range c.sessions {
		var by time.Duration
		if turned != nil {
			by = turned[i]
		}
		var found []window
		if t.Control == "" {
			found = s.around(t, by, rng)
		} else {
			found = s.controlled(t, by, rng)
		}
		for _, w := range found {
			if w.start >= 0 && w.start+span <= s.Length {
				w.session = i
				all = append(all, w)
			}
		}
	}
	return all
}

// before returns when a window begins that is to have an event at that time.
func before(at time.Duration, rng *rand.Rand) time.Duration {
	return at - lead/2 - time.Duration(rng.Int64N(int64(lead)))
}

// around returns windows around each event, moved by so much, and windows far from all of them.
func (s *Session) around(t task, by time.Duration, rng *rand.Rand) []window {
	var all []window
	var events []time.Duration
	for i, a := range s.Actions {
		if a.Kind != t.Kind || a.At < 0 || a.At >= s.Length {
			continue
		}
		at := (a.At + by) % s.Length
		events = append(events, at)
		if t.Without == "" || !follows(s.Actions[i:], t.Without, a.At, span) {
			all = append(all, window{start: before(at, rng), positive: true})
		}
	}
	slices.Sort(events)
	for at := time.Duration(0); at < s.Length; at += stride {
		start := at + time.Duration(rng.Int64N(int64(stride)))
		next, _ := slices.BinarySearch(events, start-guard)
		if next == len(events) || events[next] >= start+span {
			all = append(all, window{start: start})
		}
	}
	return all
}

// follows reports whether actions have one of a kind from at on, within some time.
func follows(actions []Action, kind string, at, within time.Duration) bool {
	return slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == kind && a.At >= at && a.At < at+within })
}

// controlled returns windows around the end of each action that the event may follow at once, whether it did or not.
// The event's time depends on that of a cell, as it follows an answer: windows around events alone would show by the
// times of cells that they are some.
func (s *Session) controlled(t task, by time.Duration, rng *rand.Rand) []window {
	var ends []time.Duration
	var followed []bool
	for i, a := range s.Actions {
		if a.Kind != t.Control || a.Until == 0 {
			continue
		}
		ends = append(ends, a.Until)
		followed = append(followed, follows(s.Actions[i:], t.Kind, a.Until, lead))
	}
	var all []window
	for i, at := range ends {
		from := i
		if by != 0 && len(ends) > 1 { // never by nothing
			from = (i + 1 + int(by/time.Millisecond)%(len(ends)-1)) % len(ends)
		}
		for range repeats {
			all = append(all, window{start: before(at, rng), positive: followed[from]})
		}
	}
	return all
}

// folds returns in which of n parts of about the same size each session of c is, at random.
func (c *cell) folds(n int, rng *rand.Rand) []int {
	parts := make([]int, len(c.sessions))
	for i, at := range rng.Perm(len(parts)) {
		parts[at] = i % n
	}
	return parts
}
