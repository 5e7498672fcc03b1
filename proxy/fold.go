package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"bip324proxy/socks"
)

const (
	// foldRefusalsFor is how long refusals like one that was logged are only counted.
	foldRefusalsFor = 10 * time.Minute

	// maxFolds is how many folds there may be at a time.
	maxFolds = 1024

	// foldFor is how long lines like one that was logged are only counted.
	foldFor = time.Minute

	// maxClientSet is how many networks of clients a folded line counts.
	maxClientSet = 1000
)

// foldKey is what repeated refusals have in common: the same destination, or the same
// client where that is the cause, and the same reason.
type foldKey struct {
	dest   string
	client string          // its network
	kind   string          // one of RefusalKinds
	code   socks.ReplyCode // what the client was told, if there was no connection
	reason string          // of what a client caused, without addresses

	level slog.Level // no warning is folded into a line of a lower level
}

// foldedRefusals keeps repeated refusals out of the log: the first is a line, and the
// number of those like it another: after ten minutes, at the end, or when there are too
// many others. Its zero value is ready.
type foldedRefusals struct {
	mu    sync.Mutex
	byKey map[foldKey]*fold
}

// fold counts the refusals like one that was logged.
type fold struct {
	repeated int         // since then
	write    func(n int) // logs the count
	timer    *time.Timer // calls end
}

// isFirst reports whether the refusal is to be logged, and counts it if not. Later write
// is called with the count, unless that is 0.
func (f *foldedRefusals) isFirst(key foldKey, write func(n int)) bool {
	first, evicted := f.add(key, write)
	if evicted != nil {
		evicted.tell()
	}
	return first
}

// add counts a refusal. It returns the fold that it evicted, if any, which is to be told
// without f.mu.
func (f *foldedRefusals) add(key foldKey, write func(n int)) (first bool, evicted *fold) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.byKey[key]; known != nil {
		known.repeated++
		return false, nil
	}
	if f.byKey == nil {
		f.byKey = make(map[foldKey]*fold)
	}
	if len(f.byKey) >= maxFolds {
		for key, old := range f.byKey {
			delete(f.byKey, key)
			evicted = old
			break
		}
	}
	begun := &fold{write: write}
	begun.timer = time.AfterFunc(foldRefusalsFor, func() { f.end(key, begun) })
	f.byKey[key] = begun
	return true, evicted
}

// end logs how often the refusal was repeated, and forgets it, unless that has been done.
func (f *foldedRefusals) end(key foldKey, begun *fold) {
	f.mu.Lock()
	due := f.byKey[key] == begun
	if due {
		delete(f.byKey, key)
	}
	f.mu.Unlock()
	if due {
		begun.tell()
	}
}

// tellAll logs all counts.
func (f *foldedRefusals) tellAll() {
	f.mu.Lock()
	all := f.byKey
	f.byKey = nil
	f.mu.Unlock()
	for _, each := range all {
		each.tell()
	}
}

// tell logs how many refusals followed the first. The fold has left the map.
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
