package proxy

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"bip324proxy/socks"
)

const (
	// foldRefusalsFor is how long refusals like one that was logged are only counted.
	foldRefusalsFor = 10 * time.Minute

	// maxFolds is how many kinds of refusals are told apart at a time.
	maxFolds = 1024
)

// failuresOfPeers are the refusals that nobody here is at fault for, faultsOfClients
// those that a client is.
var (
	failuresOfPeers = []string{kindDial, kindSilent, kindHandshake, kindRedial, kindResolve, kindNoEgress, kindPeer}
	faultsOfClients = []string{kindClient, kindDenied, kindPassthrough, kindOwnAddress}
)

// refusal is what makes refusals alike: the same destination, or the same client
// where that is at fault, for the same reason.
type refusal struct {
	of     string          // the destination; the client's network
	kind   string          // of RefusalKinds
	code   socks.ReplyCode // what the client was told, if there was no connection
	reason string          // of a client's fault, without addresses

	level slog.Level // no warning is folded into what is less
}

// likeOthers says which refusals this one is like, and what the log has about all of
// them. What a client of this machine is not allowed, or does wrong, is a line each
// time: whoever sets it up wants to see it.
func (s *session) likeOthers(kind, reason string, err error) (like refusal, about []any, folded bool) {
	like = refusal{kind: kind, level: level(kind, err)}
	var dial *dialError
	switch {
	case like.level < slog.LevelInfo:
		return like, nil, false
	case slices.Contains(failuresOfPeers, kind):
		if errors.As(err, &dial) {
			like.code = dial.code
		}
		like.of = s.shown.Dest
		return like, []any{"dest", like.of}, true
	case s.public && slices.Contains(faultsOfClients, kind):
		like.of, like.reason = clientNetwork(s.client.RemoteAddr()).String(), reason
		return like, []any{"clients", like.of}, true
	}
	return like, nil, false
}

// foldedRefusals keep repeated refusals out of the log: the first is a line, and how
// many there were like it is another when ten minutes have passed, or at the end, or
// when there are too many others. Its zero value is ready.
type foldedRefusals struct {
	mu sync.Mutex
	of map[refusal]*fold
}

// fold is one kind of refusal that was logged a while ago.
type fold struct {
	repeated int         // since then
	write    func(n int) // how the log is told
	timer    *time.Timer // goes off when it is to be told
}

// isFirst says whether the refusal is to be logged. If not it has been counted. After
// the first, write is called once with how many more there were, unless there are
// none.
func (f *foldedRefusals) isFirst(r refusal, write func(n int)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.of[r]; known != nil {
		known.repeated++
		return false
	}
	if f.of == nil {
		f.of = make(map[refusal]*fold)
	}
	if len(f.of) >= maxFolds {
		for any := range f.of {
			f.tell(any)
			break
		}
	}
	first := &fold{write: write}
	first.timer = time.AfterFunc(foldRefusalsFor, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.of[r] == first {
			f.tell(r)
		}
	})
	f.of[r] = first
	return true
}

// tell logs how often r was repeated, and forgets it. f.mu is held.
func (f *foldedRefusals) tell(r refusal) {
	known := f.of[r]
	known.timer.Stop()
	delete(f.of, r)
	if known.repeated > 0 {
		known.write(known.repeated)
	}
}

// tellAll logs all that there is to be told.
func (f *foldedRefusals) tellAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.of {
		f.tell(r)
	}
}
