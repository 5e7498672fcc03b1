package proxy

import (
	"maps"
	"slices"
	"time"

	"bip324proxy/v1v2"
)

const (
	// keepEnded is how many sessions that have ended are kept of each kind.
	keepEnded = 50

	// maxShown bounds, in bytes, each text of a session that is kept.
	maxShown = 1 << 10
)

// handshakeBounds are the upper bounds of Snapshot.Handshakes, in seconds: a
// handshake takes two to three round trips, through Tor up to a minute.
var handshakeBounds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

// tally is what has happened since the server began. Server.mu guards it.
type tally struct {
	opened    map[string]uint64
	fallbacks map[string]uint64
	refused   map[string]uint64
	traffic   map[string]Traffic // of sessions that have ended
	dropped   map[string]uint64  // by them
	buckets   []uint64           // of handshakes, not cumulative; the last is for what is longer
	handshake time.Duration      // all of them together
	refusals  lastEnded
	closed    lastEnded
}

func newTally() tally {
	t := tally{
		opened:    make(map[string]uint64),
		fallbacks: make(map[string]uint64),
		refused:   make(map[string]uint64),
		traffic:   make(map[string]Traffic),
		dropped:   make(map[string]uint64),
		buckets:   make([]uint64, len(handshakeBounds)+1),
	}
	for _, transport := range Transports {
		t.opened[transport], t.traffic[transport] = 0, Traffic{}
	}
	for _, cause := range FallbackCauses {
		t.fallbacks[cause] = 0
	}
	for _, kind := range RefusalKinds {
		t.refused[kind] = 0
	}
	for _, reason := range v1v2.Reasons {
		t.dropped[reason.String()] = 0
	}
	return t
}

func (t *tally) shookHands(took time.Duration) {
	i, _ := slices.BinarySearch(handshakeBounds, took.Seconds())
	t.buckets[i]++
	t.handshake += took
}

// end counts a session that has ended: opened, and so with its traffic, or refused.
// Refusals that happen every day are only counted.
func (t *tally) end(e Ended, traffic Traffic, everyDay bool) {
	if e.Kind == "" {
		all := t.traffic[e.Transport]
		all.add(traffic)
		t.traffic[e.Transport] = all
		t.closed.put(e)
		return
	}
	t.refused[e.Kind]++
	if !everyDay {
		t.refusals.put(e)
	}
}

func (t *tally) copyTo(s *Snapshot) {
	s.Opened, s.Fallbacks, s.Refused = maps.Clone(t.opened), maps.Clone(t.fallbacks), maps.Clone(t.refused)
	s.Traffic, s.Dropped = maps.Clone(t.traffic), maps.Clone(t.dropped)
	s.Refusals, s.Closed = t.refusals.newestFirst(), t.closed.newestFirst()
	s.Handshakes = Histogram{Sum: t.handshake.Seconds(), Bounds: slices.Clone(handshakeBounds)}
	for i, n := range t.buckets {
		s.Handshakes.Count += n
		if i < len(handshakeBounds) {
			s.Handshakes.Buckets = append(s.Handshakes.Buckets, s.Handshakes.Count)
		}
	}
}

// lastEnded are the last sessions that ended, in a ring.
type lastEnded struct {
	ring []Ended
	next int
}

func (l *lastEnded) put(e Ended) {
	for _, text := range []*string{&e.Dest, &e.Reason, &e.Hint} {
		*text = (*text)[:min(len(*text), maxShown)]
	}
	if len(l.ring) < keepEnded {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[l.next] = e
	l.next = (l.next + 1) % keepEnded
}

func (l *lastEnded) newestFirst() []Ended {
	all := append(slices.Clone(l.ring[l.next:]), l.ring[:l.next]...)
	slices.Reverse(all)
	return append([]Ended{}, all...) // never null in JSON
}
