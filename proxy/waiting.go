package proxy

import (
	"log/slog"
	"net/netip"
	"slices"

	"bip324proxy/internal/listen"
)

const (
	// maxWaitingPerClient limits the waiting sessions of one client network: more than all
	// programs behind one address begin at the same time.
	maxWaitingPerClient = 32

	// fewWaiting is the share of waiting sessions where a quarter of all would be less; at
	// most half of all.
	fewWaiting = 16
)

var (
	errTooManyWaiting = plainError("too many connections of the client's address have not authenticated")
	errMadeRoom       = plainError("the client had not authenticated when its session was needed for another client")
)

// waiting are the sessions that anybody can open: those of remote clients that have not
// completed their negotiation, and so have given no password. They have a share of the
// sessions and are evicted for any other.
type waiting struct {
	max     int
	inOrder []*session           // the oldest first
	from    map[netip.Prefix]int // their number by network
}

// newWaiting returns the share of a server with that many sessions.
func newWaiting(sessions int) waiting {
	return waiting{max: max(sessions/4, min(sessions/2, fewWaiting), 1), from: make(map[netip.Prefix]int)}
}

func (w *waiting) add(s *session) {
	w.inOrder = append(w.inOrder, s)
	w.from[s.from]++
}

// remove removes s if it is waiting.
func (w *waiting) remove(s *session) {
	i := slices.Index(w.inOrder, s)
	if i < 0 {
		return
	}
	w.inOrder = slices.Delete(w.inOrder, i, i+1)
	if w.from[s.from]--; w.from[s.from] == 0 {
		delete(w.from, s.from)
	}
}

// next returns the session to evict: the oldest of the client networks with the most. So
// a few networks do not evict the clients of others.
func (w *waiting) next() (victim *session) {
	most := 0
	for _, each := range w.inOrder {
		if n := w.from[each.from]; n > most {
			most, victim = n, each
		}
	}
	return victim
}

// makeRoom evicts a waiting session, if there is one, and returns what logs that. s.mu is
// held; tell must be called without it.
func (s *Server) makeRoom() (tell func()) {
	victim := s.waiting.next()
	if victim == nil {
		return nil
	}
	s.waiting.remove(victim)
	s.leaving[victim] = struct{}{}
	victim.fail(errMadeRoom)
	return func() {
		s.logFolded("waiting", slog.LevelWarn, victim.client.RemoteAddr(), "connection closed",
			"reason", errMadeRoom.Error(), "hint", "a client opens many connections without the password")
	}
}

// negotiated takes a session whose client has authenticated and asked for a destination
// off the waiting. It returns errMadeRoom if the session was evicted before.
func (s *Server) negotiated(sess *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting.remove(sess)
	if _, late := s.leaving[sess]; late {
		return errMadeRoom
	}
	return nil
}

// full reports whether there is no place for another session. Public listeners leave an
// eighth of the places to local ones, if there are any. s.mu is held.
func (s *Server) full(public bool) bool {
	taken, ofPublic, local := s.outbound.live-s.refusing-len(s.leaving), 0, false
	if taken >= s.outbound.max || !public {
		return taken >= s.outbound.max
	}
	for l, about := range s.listeners {
		local = local || about.node == nil && listen.IsLocal(l.Addr())
	}
	if !local || taken < s.outbound.max-s.outbound.max/8 {
		return false
	}
	for _, sess := range s.live {
		if _, leaving := s.leaving[sess]; sess.public && sess.peer == nil && sess.refusal == nil && !leaving {
			ofPublic++
		}
	}
	return ofPublic >= s.outbound.max-s.outbound.max/8
}
