package proxy

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// foldFor is how long lines like one that was logged are only counted.
	foldFor = time.Minute

	// maxClientSet is how many networks of clients a folded line counts.
	maxClientSet = 1000
)

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
