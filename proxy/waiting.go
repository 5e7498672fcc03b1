package proxy

import (
	"log/slog"
	"net/netip"
	"slices"

	"bip324proxy/internal/listen"
)

const (
	// maxWaitingPerClient is how many sessions of one client network may wait: more
	// than all programs behind one address begin at the same time.
	maxWaitingPerClient = 32

	// fewWaiting is their share where a quarter of the sessions would be less, but
	// for half of them.
	fewWaiting = 16
)

var (
	errTooManyWaiting = plainError("too many connections of the client's address have not authenticated")
	errMadeRoom       = plainError("the client had not authenticated when its place was needed")
)

// waiting are the sessions that anybody can open: those of clients from elsewhere that
// have not completed their negotiation, and so have given no password. They have a
// share of the sessions and give way to all others.
type waiting struct {
	max     int
	inOrder []waiter // the one that has waited longest first
	from    map[netip.Prefix]int
}

// newWaiting returns the share of that many sessions.
func newWaiting(sessions int) waiting {
	return waiting{max: max(sessions/4, min(sessions/2, fewWaiting), 1), from: make(map[netip.Prefix]int)}
}

// waiter is a session that waits, and the client's network.
type waiter struct {
	*session
	network netip.Prefix
}

func (w *waiting) add(s *session) {
	network := clientNetwork(s.client.RemoteAddr())
	w.inOrder = append(w.inOrder, waiter{s, network})
	w.from[network]++
}

// remove takes s off, if it is waiting.
func (w *waiting) remove(s *session) {
	i := slices.IndexFunc(w.inOrder, func(each waiter) bool { return each.session == s })
	if i < 0 {
		return
	}
	network := w.inOrder[i].network
	w.inOrder = slices.Delete(w.inOrder, i, i+1)
	if w.from[network]--; w.from[network] == 0 {
		delete(w.from, network)
	}
}

// next returns the session to give way: of the client networks with the most, the one
// that has waited longest. So a few networks do not push out the others' clients.
func (w *waiting) next() (victim *session) {
	most := 0
	for _, each := range w.inOrder {
		if n := w.from[each.network]; n > most {
			most, victim = n, each.session
		}
	}
	return victim
}

// makeRoom ends the waiting session that is to give way, if there is one, and returns
// what logs that, without s.mu, which is held.
func (s *Server) makeRoom() (tell func()) {
	victim := s.waiting.next()
	if victim == nil {
		return nil
	}
	s.waiting.remove(victim)
	s.leaving[victim] = struct{}{}
	victim.fail(errMadeRoom)
	return func() {
		s.logFolded(&s.folded.waiting, slog.LevelWarn, victim.client.RemoteAddr(), "connection closed",
			"reason", errMadeRoom.Error(), "hint", "somebody opens many connections without the password")
	}
}

// negotiated tells that a session's client has said where it wants to go, with the
// password where one is needed. It returns errMadeRoom if that came too late.
func (s *Server) negotiated(each *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting.remove(each)
	if _, late := s.leaving[each]; late {
		return errMadeRoom
	}
	return nil
}

// full reports whether there is no place for another session. A listener that is open
// to others leaves some of them to those of this machine. s.mu is held.
func (s *Server) full(public bool) bool {
	taken, ofPublic, local := -s.refusing-len(s.leaving), 0, false
	taken += len(s.sessions)
	if taken >= s.max || !public {
		return taken >= s.max
	}
	for l := range s.listeners {
		local = local || listen.IsLocal(l.Addr())
	}
	if !local || taken < s.max-s.max/8 {
		return false
	}
	for each := range s.sessions {
		if _, leaving := s.leaving[each]; each.public && each.refusal == nil && !leaving {
			ofPublic++
		}
	}
	return ofPublic >= s.max-s.max/8
}
