package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"bip324proxy/socks"
)

const (
	// foldRefusalsFor is how long refusals like one that was logged are only counted.
	foldRefusalsFor = 10 * time.Minute

	// foldFor is how long other lines like one that was logged are only counted.
	foldFor = time.Minute

	// maxFolds is how many folds there may be at a time.
	maxFolds = 1024

	// maxClientSet is how many networks of clients a folded line counts.
	maxClientSet = 1000
)

// foldKey is what repeated lines have in common. For refusals that is the same destination,
// or the same client where that is the cause, and the same reason.
type foldKey struct {
	line string // which line, if it is not about a refused session

	dest   string
	client string          // its network
	kind   string          // one of RefusalKinds
	code   socks.ReplyCode // what the client was told, if there was no connection
	reason string          // of what a client caused, without addresses

	level slog.Level // no warning is folded into a line of a lower level
}

// foldedLog keeps repeated lines out of the log: the first is written at once, and the
// number of those like it in another: after a while, at the end, or when there are too many
// others. No lock is held while a line is written. Its zero value is ready.
type foldedLog struct {
	mu    sync.Mutex
	byKey map[foldKey]*fold
}

// fold counts the lines like one that was written.
type fold struct {
	again int       // since then
	who   clientSet // that they are about
	write foldedLine
	timer *time.Timer // calls end
}

// foldedLine writes a line about some clients, which was repeated again times.
type foldedLine func(again int, who clientSet)

// line calls write now, or counts the line if one like it was written a while ago. client
// is nil if the line is about none.
func (f *foldedLog) line(key foldKey, client net.Addr, write foldedLine) {
	if f.isFirst(key, client, write) {
		var who clientSet
		who.add(client)
		write(0, who)
	}
}

// isFirst reports whether the line is to be written now, and counts it if not. Later the
// last write is called with the count, unless that is 0.
func (f *foldedLog) isFirst(key foldKey, client net.Addr, write foldedLine) bool {
	first, evicted := f.add(key, client, write)
	if evicted != nil {
		evicted.tell()
	}
	return first
}

// add counts a line. It returns the fold that it evicted, if any, which is to be told
// without f.mu.
func (f *foldedLog) add(key foldKey, client net.Addr, write foldedLine) (first bool, evicted *fold) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.byKey[key]; known != nil {
		known.again++
		known.who.add(client)
		known.write = write
		return false, nil
	}
	if len(f.byKey) >= maxFolds {
		for key, old := range f.byKey {
			delete(f.byKey, key)
			evicted = old
			break
		}
	}
	f.begin(key)
	return true, evicted
}

func (f *foldedLog) begin(key foldKey) { // f.mu is held
	if f.byKey == nil {
		f.byKey = make(map[foldKey]*fold)
	}
	period := foldFor
	if key.line == "" {
		period = foldRefusalsFor
	}
	begun := new(fold)
	begun.timer = time.AfterFunc(period, func() { f.end(key, begun) })
	f.byKey[key] = begun
}

// end tells how often the line was repeated, unless that has been done. The next refusal
// is then a line again; any other line is once in a period for as long as it repeats.
func (f *foldedLog) end(key foldKey, old *fold) {
	f.mu.Lock()
	due := f.byKey[key] == old
	if due {
		delete(f.byKey, key)
		if key.line != "" && old.again > 0 {
			f.begin(key)
		}
	}
	f.mu.Unlock()
	if due {
		old.tell()
	}
}

// tellAll logs all counts.
func (f *foldedLog) tellAll() {
	f.mu.Lock()
	all := f.byKey
	f.byKey = nil
	f.mu.Unlock()
	for _, each := range all {
		each.tell()
	}
}

// tell logs how many lines followed the first. The fold has left the map.
func (f *fold) tell() {
	f.timer.Stop()
	if f.again > 0 {
		f.write(f.again, f.who)
	}
}

// clientSet holds the networks (see clientNetwork) of the clients that a line is about,
// up to maxClientSet and one. Its zero value is empty.
type clientSet struct {
	networks map[netip.Prefix]struct{}
	last     net.Addr
	added    int
}

// add adds a client, unless it is nil.
func (c *clientSet) add(client net.Addr) {
	if client == nil {
		return
	}
	c.last = client
	c.added++
	if c.networks == nil {
		c.networks = make(map[netip.Prefix]struct{})
	}
	if len(c.networks) <= maxClientSet { // one more shows that there are more
		c.networks[clientNetwork(client)] = struct{}{}
	}
}

// attr returns the attributes for the log: the address or network of a single client,
// unless hide redacts it, or the number of several.
func (c *clientSet) attr(hide bool) []any {
	switch {
	case len(c.networks) > maxClientSet:
		return []any{"clients_over", maxClientSet}
	case len(c.networks) > 1:
		return []any{"clients", len(c.networks)}
	case hide || c.added == 0:
		return nil
	}
	name := c.last.String()
	if network := clientNetwork(c.last); c.added > 1 && network.IsValid() {
		name = strings.TrimSuffix(network.String(), "/32") // one IPv4 address
	}
	return []any{"client", name}
}
