package fallback

import (
	"container/list"
	"time"
)

// clocks are readings of both clocks. The wall clock may be wrong, and may be set
// at any time. The other counts how long this process runs.
type clocks struct {
	up   time.Time // compared by its monotonic reading
	wall time.Time // has none
}

func (p *Peers) now() clocks {
	now := time.Now()
	return clocks{up: now, wall: now.Round(0).Add(p.skew)}
}

// peerNote is what is known of one peer.
type peerNote struct {
	key    string // see CanonicalAddr
	speaks Speaks

	// until is when the note expires by the process's own time. A v2 note from a
	// file has none if its date was not in time when it was read.
	until time.Time

	// date is when it expires by the wall clock. A v2 note of this process has
	// none until it is written.
	date time.Time

	// read is when a v2 note was read from a file, less the time for which it
	// has counted on trust before. Of others it is zero.
	read time.Time
}

// hasFileDate reports whether the note is a v2 note from a file.
func (n *peerNote) hasFileDate() bool { return !n.read.IsZero() }

// distrusted reports whether the note is a v2 note from a file that the wall clock
// contradicts.
func (n *peerNote) distrusted(now clocks) bool { return n.hasFileDate() && !n.inTime(now) }

// trustFor is for how long, of the time that processes run, a v2 note from a file
// counts although the wall clock says that it does not. The clock may be wrong, or
// may have been when the note was made, and nobody can tell which. Protection must
// not depend on it; but a note must not count for ever either, nor one made with a
// clock years ahead for years.
const trustFor = 7 * 24 * time.Hour

// counts reports whether the note has not expired. A v1 note, which leads to
// plaintext, counts only while both clocks say so, a v2 note while either does.
func (n *peerNote) counts(now clocks) bool {
	switch {
	case n.speaks == SpeaksV1:
		return now.up.Before(n.until) && n.inTime(now)
	case !n.hasFileDate():
		return now.up.Before(n.until)
	}
	return n.inTime(now) || now.up.Before(n.until) || n.onTrust(now) < trustFor
}

// inTime reports whether, by the wall clock, the note's date is in the future and
// no later than that of a note made now.
func (n *peerNote) inTime(now clocks) bool {
	left := n.date.Sub(now.wall)
	return left > 0 && left <= n.speaks.lifetime()
}

// onTrust returns for how long a v2 note from a file has counted against the wall
// clock, if it has since it was read.
func (n *peerNote) onTrust(now clocks) time.Duration { return now.up.Sub(n.read) }

// expiry is the date for the file: what remains of the note from now on. That of a
// v2 note from a file stays as it was read, and no v1 note gets a later one.
func (n *peerNote) expiry(now clocks) time.Time {
	if n.hasFileDate() {
		return n.date
	}
	remains := now.wall.Add(n.until.Sub(now.up))
	if n.speaks == SpeaksV1 && n.date.Before(remains.Add(time.Second)) { // both clocks tick as one, but for that
		return n.date
	}
	return remains
}

// notes are the notes on so many peers, in the order of their last use.
type notes struct {
	byKey map[string]*list.Element
	order list.List // of *peerNote, the one used longest ago in front
	swept time.Time // when expired notes were last removed
}

// sweepEvery is the shortest time between two removals of expired notes, which
// look at all.
const sweepEvery = time.Minute

// use returns the peer's note if there is one that counts, and makes it the last
// one to be evicted.
func (n *notes) use(key string, now clocks) *peerNote {
	e, ok := n.byKey[key]
	if !ok || !e.Value.(*peerNote).counts(now) {
		return nil
	}
	n.order.MoveToBack(e)
	return e.Value.(*peerNote)
}

// put adds note, in place of the peer's older one. If there are limit notes,
// expired ones are removed, or the one used longest ago.
func (n *notes) put(note *peerNote, limit int, now clocks) {
	n.remove(note.key)
	if n.order.Len() >= limit && now.up.Sub(n.swept) >= sweepEvery {
		n.swept = now.up
		n.sweep(now)
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

func (n *notes) sweep(now clocks) {
	for e := n.order.Front(); e != nil; {
		note := e.Value.(*peerNote)
		e = e.Next()
		if !note.counts(now) {
			n.remove(note.key)
		}
	}
}

// all returns the notes that count, the one used longest ago first.
func (n *notes) all(now clocks) []peerNote {
	all := make([]peerNote, 0, n.order.Len())
	for e := n.order.Front(); e != nil; e = e.Next() {
		if note := e.Value.(*peerNote); note.counts(now) {
			all = append(all, *note)
		}
	}
	return all
}
