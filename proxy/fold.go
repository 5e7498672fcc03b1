package proxy

import (
	"log/slog"
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

// failuresOfPeers are the refusals that are folded. What a client is not allowed, or
// does wrong, is a line each time.
var failuresOfPeers = []string{kindDial, kindSilent, kindHandshake, kindRedial, kindResolve, kindNoEgress, kindPeer}

// refusal is what makes refusals alike: the same destination, for the same reason.
type refusal struct {
	dest string
	kind string          // of RefusalKinds
	code socks.ReplyCode // what the client was told, if there was no connection

	level slog.Level // no warning is folded into what is less
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
