package fallback

import (
	"container/list"
	"time"
)

// clocks has the time by both clocks. The wall clock may be wrong and may be set at
// any time; the monotonic clock says how long this process has run.
type clocks struct {
	up   time.Time // compared by its monotonic reading
	wall time.Time // without one
}

func (p *Peers) now() clocks {
	now := time.Now()
	return clocks{up: now, wall: now.Round(0).Add(p.skew)}
}

// peerNote is what is known of one peer.
type peerNote struct {
	key    string // see CanonicalAddr
	speaks Speaks

	// until is when the note expires by the monotonic clock. It is zero for a v2 note
	// from the file that was not in time when it was read.
	until time.Time

	// date is when the note expires by the wall clock. It is not used of a v2 note made
	// by this process.
	date time.Time

	// read is when a v2 note was read from the file, minus the time for which it had
	// counted on trust before. It is zero for other notes.
	read time.Time
}

// trustFor is how long, in running time of the proxy, a v2 note from the file counts
// against the wall clock. Either that is wrong, or it was when the note was made.
// Protection must not depend on it, but no note may count for ever, nor one made with
// a clock years ahead for years.
const trustFor = 7 * 24 * time.Hour

// counts reports whether the note has not expired. A v1 note, which leads to
// plaintext, counts while both clocks say so, a v2 note while either does.
func (n *peerNote) counts(now clocks) bool {
	switch {
	case n.speaks == SpeaksV1:
		return now.up.Before(n.until) && n.inTime(now)
	case !n.fromFile():
		return now.up.Before(n.until)
	}
	return n.inTime(now) || now.up.Before(n.until) || n.onTrust(now) < trustFor
}

// fromFile reports whether n is a v2 note from the file.
func (n *peerNote) fromFile() bool { return !n.read.IsZero() }

// inTime reports whether, by the wall clock, the note's date is in the future and no
// later than that of a note made now.
func (n *peerNote) inTime(now clocks) bool {
	left := n.date.Sub(now.wall)
	return left > 0 && left <= lifetimes[n.speaks]
}

// distrusted reports whether the wall clock contradicts a v2 note from the file.
func (n *peerNote) distrusted(now clocks) bool { return n.fromFile() && !n.inTime(now) }

// onTrust returns how long a distrusted note has counted.
func (n *peerNote) onTrust(now clocks) time.Duration { return now.up.Sub(n.read) }

// expiry returns the note's date for the file. A v2 note from the file keeps its own,
// and a v1 note never gets a later one.
func (n *peerNote) expiry(now clocks) time.Time {
	if n.fromFile() {
		return n.date
	}
	date := now.wall.Add(n.until.Sub(now.up))
	if n.speaks == SpeaksV1 && n.date.Before(date.Add(time.Second)) { // the clocks differ by less if none was set
		return n.date
	}
	return date
}

// notes is an LRU cache of notes.
type notes struct {
	byKey map[string]*list.Element
	order list.List // of *peerNote, least recently used first
	swept time.Time // when expired notes were last removed
}

// sweepEvery is the shortest time between two removals of all expired notes.
const sweepEvery = time.Minute

// use returns the peer's note, or nil if there is none that counts, and makes it the
// most recently used.
func (n *notes) use(key string, now clocks) *peerNote {
	e, ok := n.byKey[key]
	if !ok || !e.Value.(*peerNote).counts(now) {
		return nil
	}
	n.order.MoveToBack(e)
	return e.Value.(*peerNote)
}

// put adds note, replacing the peer's older one. At the limit it evicts all expired
// notes, or else the least recently used.
func (n *notes) put(note *peerNote, limit int, now clocks) {
	n.remove(note.key)
	if n.order.Len() >= limit && now.up.Sub(n.swept) >= sweepEvery {
		n.swept = now.up
		for e := n.order.Front(); e != nil; {
			old := e.Value.(*peerNote)
			e = e.Next()
			if !old.counts(now) {
				n.remove(old.key)
			}
		}
	}
	if n.order.Len() >= limit {
		n.remove(n.order.Front().Value.(*peerNote).key)
	}
	if n.byKey == nil {
		n.byKey = make(map[string]*list.Element)
	}
	n.byKey[note.key] = n.order.PushBack(note)
}

func (n *notes) remove(key string) {
	if e, ok := n.byKey[key]; ok {
		n.order.Remove(e)
		delete(n.byKey, key)
	}
}

// all returns the notes that count, least recently used first.
func (n *notes) all(now clocks) []peerNote {
	all := make([]peerNote, 0, n.order.Len())
	for e := n.order.Front(); e != nil; e = e.Next() {
		if note := e.Value.(*peerNote); note.counts(now) {
			all = append(all, *note)
		}
	}
	return all
}
