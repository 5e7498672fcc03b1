package proxy

import (
	"cmp"
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
	failing   failing
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
		t.failing.add(&e)
	}
}

// open counts a session that has opened.
func (t *tally) open(transport string) {
	t.opened[transport]++
	t.failing = failing{}
}

func (t *tally) copyTo(s *Snapshot) {
	s.Opened, s.Fallbacks, s.Refused = maps.Clone(t.opened), maps.Clone(t.fallbacks), maps.Clone(t.refused)
	s.Traffic, s.Dropped = maps.Clone(t.traffic), maps.Clone(t.dropped)
	s.Refusals, s.Closed = t.refusals.newestFirst(), t.closed.newestFirst()
	s.Failing = t.failing.report()
	s.Handshakes = Histogram{Sum: t.handshake.Seconds(), Bounds: slices.Clone(handshakeBounds)}
	for i, n := range t.buckets {
		s.Handshakes.Count += n
		if i < len(handshakeBounds) {
			s.Handshakes.Buckets = append(s.Handshakes.Buckets, s.Handshakes.Count)
		}
	}
}

// alike is what makes ended sessions alike: repeated, one of them is to be shown.
type alike struct {
	kind, transport, dest string
	client                string // its host, where the client is at fault or has not said where to
	reason                string // where it has not
}

// lastEnded are the last sessions that ended, the newest last. Of those that are alike
// it keeps one.
type lastEnded struct {
	kept []*Ended
}

func (l *lastEnded) put(e Ended) {
	for _, text := range []*string{&e.Dest, &e.Reason, &e.Hint} {
		*text = (*text)[:min(len(*text), maxShown)]
	}
	e.Count, e.First = 1, e.Time
	i := slices.IndexFunc(l.kept, func(kept *Ended) bool { return kept.like == e.like })
	switch {
	case i >= 0:
		e.Count, e.First = l.kept[i].Count+1, l.kept[i].First
	case len(l.kept) < keepEnded:
		l.kept = append(l.kept, &e)
		return
	default:
		i = 0
	}
	room := l.kept[i]
	*room = e
	l.kept = append(slices.Delete(l.kept, i, i+1), room)
}

func (l *lastEnded) newestFirst() []Ended {
	all := make([]Ended, 0, len(l.kept)) // never null in JSON
	for _, e := range slices.Backward(l.kept) {
		all = append(all, *e)
	}
	return all
}

// failing counts the refusals since a session last opened, by kind.
type failing struct {
	count uint64
	since time.Time
	kinds map[string]*failed
}

type failed struct {
	count              uint64
	dest, reason, hint string // of the last
}

func (f *failing) add(e *Ended) {
	if f.count == 0 {
		f.since, f.kinds = e.Time, make(map[string]*failed)
	}
	f.count++
	kind := f.kinds[e.Kind]
	if kind == nil {
		kind = new(failed)
		f.kinds[e.Kind] = kind
	}
	kind.count++
	kind.dest, kind.reason, kind.hint = e.Dest, e.Reason, e.Hint
}

// report returns nil if nothing failed.
func (f *failing) report() *Failing {
	if f.count == 0 {
		return nil
	}
	r := &Failing{Count: f.count, Since: f.since}
	for _, kind := range RefusalKinds { // the first of several that are as frequent
		if k := f.kinds[kind]; k != nil && k.count > r.OfKind {
			r.Kind, r.OfKind, r.Dest, r.Reason = kind, k.count, k.dest, k.reason
			r.Hint = cmp.Or(k.hint, failingHints[kind])
		}
	}
	return r
}

// failingHints say what to do if nothing but such failures is seen, where one of them
// would be no reason to do anything.
var failingHints = map[string]string{
	kindDial:      "if it goes on: see that this machine has a network connection, and that no firewall stops this program (bip324-proxy check)",
	kindHandshake: "if it goes on: see that the client is on the network that its peers are on",
	kindResolve:   "see that the name is right, and that name resolution works on this machine (bip324-proxy check)",
	kindClient:    "set the client's SOCKS5 proxy to this proxy's address",
}

// addDropped adds what the session has dropped to all, by reason.
func (s *session) addDropped(all map[string]uint64) {
	for _, r := range v1v2.Reasons {
		if n := s.up.DroppedFor(r) + s.down.DroppedFor(r); n > 0 {
			all[r.String()] += n
		}
	}
}
