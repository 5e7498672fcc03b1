package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bip324proxy/transport/fallback"

	"bip324proxy/socks"
)

const (
	// foldRefusalsFor is how long refusals like one that was logged are only counted.
	foldRefusalsFor = 10 * time.Minute

	// maxFolds is how many kinds of refusals are told apart at a time.
	maxFolds = 1024

	// foldFor is how long lines like one that was logged are only counted.
	foldFor = time.Minute

	// maxClientSet is how many networks of clients a folded line counts.
	maxClientSet = 1000
)

// failuresOfPeers are the refusals that nobody here is at fault for, faultsOfClients
// those that a client is.
var (
	failuresOfPeers = []string{kindDial, kindUpstream, kindSilent, kindHandshake, kindRedial, kindResolve, kindNoEgress, kindPeer}
	faultsOfClients = []string{kindClient, kindNotAllowed, kindDenied, kindPassthrough, kindOwnAddress}
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

// foldedLevel is the level for the line about a refused session: debug if there was
// one like it a while ago. What a client of this machine is not allowed, or does
// wrong, is a line each time: whoever sets it up wants to see it.
func (s *session) foldedLevel(end Ended, err error) slog.Level {
	level := level(end.Kind, err)
	ofPeer := slices.Contains(failuresOfPeers, end.Kind)
	if level < slog.LevelInfo || !ofPeer && !(s.public && slices.Contains(faultsOfClients, end.Kind)) {
		return level
	}
	reason, _ := s.explain(hidden(err)) // the log may hide addresses by the time that it is told
	like, whose := refusal{of: fallback.CanonicalAddr(end.Dest), kind: end.Kind, level: level}, "dest"
	var dial *dialError
	switch {
	case !ofPeer:
		like.of, like.reason, whose = clientNetwork(s.client.RemoteAddr()).String(), reason, "clients"
	case errors.As(err, &dial):
		like.code = dial.code
	}
	server, args := s.server, []any{"reason", end.Reason, "within", foldRefusalsFor, whose, like.of}
	first := server.folded.refusals.isFirst(like, func(n int) {
		if server.policy().HideAddresses {
			args = []any{"reason", reason, "within", foldRefusalsFor}
		}
		server.log().Log(context.Background(), level, "session refused again", append(args, "repeated", n)...)
	})
	if first {
		return level
	}
	return slog.LevelDebug
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
	first, evicted := f.add(r, write)
	if evicted != nil {
		evicted.tell()
	}
	return first
}

// add counts a refusal. It returns what had to make room for it, if anything had to:
// that is to be told once f.mu is free.
func (f *foldedRefusals) add(r refusal, write func(n int)) (first bool, evicted *fold) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.of[r]; known != nil {
		known.repeated++
		return false, nil
	}
	if f.of == nil {
		f.of = make(map[refusal]*fold)
	}
	if len(f.of) >= maxFolds {
		for r, old := range f.of {
			delete(f.of, r)
			evicted = old
			break
		}
	}
	begun := &fold{write: write}
	begun.timer = time.AfterFunc(foldRefusalsFor, func() { f.end(r, begun) })
	f.of[r] = begun
	return true, evicted
}

// end logs how often r was repeated, and forgets it, unless that has been done.
func (f *foldedRefusals) end(r refusal, begun *fold) {
	f.mu.Lock()
	due := f.of[r] == begun
	if due {
		delete(f.of, r)
	}
	f.mu.Unlock()
	if due {
		begun.tell()
	}
}

// tellAll logs all that there is to be told.
func (f *foldedRefusals) tellAll() {
	f.mu.Lock()
	all := f.of
	f.of = nil
	f.mu.Unlock()
	for _, each := range all {
		each.tell()
	}
}

// tell logs how many refusals followed the first. The fold is in no map any more.
func (f *fold) tell() {
	f.timer.Stop()
	if f.repeated > 0 {
		f.write(f.repeated)
	}
}

// foldedLog writes a line at once, and those that follow within a minute as one, with
// their number and the clients that they are about. Its zero value is ready. No lock is held while
// a line is written.
type foldedLog struct {
	mu    sync.Mutex
	quiet *time.Timer // to the end of the minute after a line; nil if there was none
	again int         // lines since then
	who   clientSet   // that they are about
	write foldedLine  // writes the last of them
}

// foldedLine writes a line about some clients, with what else it is to say.
type foldedLine func(who clientSet, more ...any)

// line calls write with the client now, or counts the line if one was written within
// the last minute. client is nil if the line is about none.
func (f *foldedLog) line(client net.Addr, write foldedLine) {
	if f.add(client, write) {
		var who clientSet
		who.add(client)
		write(who)
	}
}

// add counts the line, unless it is to be written now.
func (f *foldedLog) add(client net.Addr, write foldedLine) (now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.quiet == nil {
		f.quiet = time.AfterFunc(foldFor, f.tell)
		return true
	}
	f.again++
	f.who.add(client)
	f.write = write
	return false
}

// tell writes the line about those that were only counted, if there are any.
func (f *foldedLog) tell() {
	f.mu.Lock()
	again, who, write := f.again, f.who, f.write
	f.again, f.who, f.write = 0, clientSet{}, nil
	if f.quiet != nil {
		f.quiet.Stop()
		f.quiet = nil
	}
	if again > 0 {
		f.quiet = time.AfterFunc(foldFor, f.tell)
	}
	f.mu.Unlock()
	if again > 0 {
		write(who, "again", again, "within", foldFor)
	}
}

// clientSet holds the networks (see clientNetwork) of the clients that a line is about,
// up to maxClientSet. Its zero value is empty.
type clientSet struct {
	networks map[netip.Prefix]struct{}
	last     net.Addr
	added    int
	more     bool // it does not hold all
}

// add adds a client, unless it is nil.
func (c *clientSet) add(client net.Addr) {
	if client == nil {
		return
	}
	c.last = client
	c.added++
	network := clientNetwork(client)
	if _, ok := c.networks[network]; !ok && len(c.networks) >= maxClientSet {
		c.more = true
		return
	}
	if c.networks == nil {
		c.networks = make(map[netip.Prefix]struct{})
	}
	c.networks[network] = struct{}{}
}

// attr returns the attributes for the log: the address or network of a single client,
// unless hide redacts it, or the number of several.
func (c *clientSet) attr(hide bool) []any {
	switch {
	case c.more:
		return []any{"clients_over", len(c.networks)}
	case len(c.networks) > 1:
		return []any{"clients", len(c.networks)}
	case hide || c.added == 0:
		return nil
	}
	network := clientNetwork(c.last)
	switch {
	case c.added == 1 || !network.IsValid():
		return []any{"client", c.last.String()}
	case network.IsSingleIP():
		return []any{"client", network.Addr().String()}
	}
	return []any{"client", network.String()}
}
