package proxy

import (
	"maps"
	"slices"
	"time"

	"bip324proxy/v1v2"
)

const (
	// keepOutcomes is how many sessions that have ended are kept of each kind.
	keepOutcomes = 50

	// maxShown bounds, in bytes, each text of a session that is kept.
	maxShown = 1 << 10
)

// handshakeBounds are the upper bounds of Snapshot.Handshakes, in seconds: a
// handshake takes two to three round trips, through Tor up to a minute.
var handshakeBounds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

// tally counts what has happened since the server started. Server.mu guards it.
type tally struct {
	kinds      []string // of refusals
	opened     map[string]uint64
	fallbacks  map[string]uint64
	refused    map[string]uint64
	traffic    map[string]Traffic // of sessions that have ended
	dropped    map[string]uint64  // by them
	shaping    ShapingTotals      // of them
	handshakes Histogram
	refusals   lastOutcomes
	closed     lastOutcomes
	failing    failing
	evicted    uint64 // open sessions of peers
}

// newTally returns a tally of refusals of these kinds.
func newTally(kinds []string) tally {
	t := tally{
		kinds:      kinds,
		opened:     zeros[uint64](Transports),
		fallbacks:  zeros[uint64](FallbackCauses),
		refused:    zeros[uint64](kinds),
		traffic:    zeros[Traffic](Transports),
		dropped:    make(map[string]uint64),
		handshakes: Histogram{Bounds: handshakeBounds, Buckets: make([]uint64, len(handshakeBounds))},
	}
	for _, reason := range v1v2.Reasons {
		t.dropped[reason.String()] = 0
	}
	return t
}

// zeros returns a zero V for each name.
func zeros[V any](names []string) map[string]V {
	all := make(map[string]V)
	for _, name := range names {
		all[name] = *new(V)
	}
	return all
}

// observeHandshake counts a v2 handshake that succeeded.
func (t *tally) observeHandshake(took time.Duration) {
	t.handshakes.Count++
	t.handshakes.Sum += took.Seconds()
	for i, bound := range handshakeBounds {
		if took.Seconds() <= bound {
			t.handshakes.Buckets[i]++
		}
	}
}

// add counts a session that has ended: opened, and so with its traffic, or refused.
// Routine refusals are only counted.
func (t *tally) add(o Outcome, traffic Traffic) {
	for _, text := range []*string{&o.Dest, &o.Reason, &o.Hint} {
		*text = (*text)[:min(len(*text), maxShown)]
	}
	if o.Kind == "" {
		all := t.traffic[o.Transport]
		all.add(traffic)
		t.traffic[o.Transport] = all
		if o.evicted {
			t.evicted++
		}
		t.closed.put(o)
		return
	}
	t.refused[o.Kind]++
	if !o.why.routine {
		t.refusals.put(o)
		t.failing.add(o)
	}
}

// open counts a session that has opened.
func (t *tally) open(transport string) {
	t.opened[transport]++
	t.failing = failing{}
}

func (t *tally) copyTo(s *Counts) {
	s.Opened, s.Fallbacks, s.Refused = maps.Clone(t.opened), maps.Clone(t.fallbacks), maps.Clone(t.refused)
	s.Traffic, s.Dropped = maps.Clone(t.traffic), maps.Clone(t.dropped)
	s.ShapingTotals = t.shaping
	s.Refusals, s.Closed = t.refusals.newestFirst(), t.closed.newestFirst()
	s.Failing = t.failing.report(t.kinds)
	s.Handshakes = t.handshakes
	s.Handshakes.Bounds, s.Handshakes.Buckets = slices.Clone(handshakeBounds), slices.Clone(t.handshakes.Buckets)
}

// alike is what similar outcomes have in common; of these the last is shown.
type alike struct {
	kind, transport string
	dest            string // inbound the network of the peer
	client          string // its host, if the client caused the outcome or named no destination
	reason          string // if it named none
}

// lastOutcomes are the last outcomes, the newest last, of similar ones only one.
type lastOutcomes []Outcome

func (l *lastOutcomes) put(o Outcome) {
	o.Count, o.First = 1, o.Time
	if i := slices.IndexFunc(*l, func(kept Outcome) bool { return kept.like == o.like }); i >= 0 {
		o.Count, o.First = (*l)[i].Count+1, (*l)[i].First
		*l = slices.Delete(*l, i, i+1)
	} else if len(*l) == keepOutcomes {
		*l = slices.Delete(*l, 0, 1)
	}
	*l = append(*l, o)
}

func (l lastOutcomes) newestFirst() []Outcome {
	all := append([]Outcome{}, l...) // never null in JSON
	slices.Reverse(all)
	return all
}

// failing counts the refusals since a session last opened.
type failing struct {
	count  uint64
	since  time.Time
	byKind map[string]Failing
}

func (f *failing) add(o Outcome) {
	if f.count == 0 {
		f.since, f.byKind = o.Time, make(map[string]Failing)
	}
	f.count++
	f.byKind[o.Kind] = Failing{Kind: o.Kind, OfKind: f.byKind[o.Kind].OfKind + 1, Dest: o.Dest, Reason: o.Reason, Hint: o.Hint}
}

// report returns nil if nothing failed. kinds are all that there are, in the order of
// preference.
func (f *failing) report(kinds []string) *Failing {
	if f.count == 0 {
		return nil
	}
	var most Failing
	for _, kind := range kinds { // the first of several that are as frequent
		if of := f.byKind[kind]; of.OfKind > most.OfKind {
			most = of
		}
	}
	most.Count, most.Since = f.count, f.since
	return &most
}

// addDropped adds what the session has dropped to all, by reason.
func (s *session) addDropped(all map[string]uint64) {
	for _, r := range v1v2.Reasons {
		if n := s.up.DroppedFor(r) + s.down.DroppedFor(r); n > 0 {
			all[r.String()] += n
		}
	}
}
