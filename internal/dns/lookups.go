package dns

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	maxLookups = 64  // at a time
	maxAnswers = 512 // that are kept, besides those of lookups that run

	keepFailure = 5 * time.Second // clients whose query failed repeat it at once
)

// answers are the answers of the last minute, and the lookups that run. A lookup serves all
// queries for its name: programs ask for A and AAAA at once, and through Tor each lookup costs
// a circuit. Make running before use.
type answers struct {
	running chan struct{} // a semaphore

	mu     sync.Mutex
	byName map[string]*answer
}

// answer is the answer to queries for a name.
type answer struct {
	done    chan struct{} // closed when there is one
	ips     []netip.Addr
	err     error
	until   time.Time // it is kept; zero while the lookup runs
	waiting int       // queries
	cancel  context.CancelFunc
}

type lookupFunc func(ctx context.Context, name string) ([]netip.Addr, error)

// get returns the addresses of name, which it looks up unless it is known or being looked up.
// A lookup is canceled when the last get that waits for it is.
func (a *answers) get(ctx context.Context, name string, lookup lookupFunc) ([]netip.Addr, error) {
	a.mu.Lock()
	now := time.Now()
	this := a.byName[name]
	if this == nil || !this.until.IsZero() && now.After(this.until) {
		a.makeRoom(now)
		this = &answer{done: make(chan struct{})}
		var running context.Context
		running, this.cancel = context.WithCancel(context.Background())
		a.byName[name] = this
		go a.run(running, this, name, lookup)
	}
	this.waiting++
	a.mu.Unlock()
	select {
	case <-this.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	this.waiting--
	if this.until.IsZero() {
		if this.waiting == 0 {
			this.cancel()
			if a.byName[name] == this {
				delete(a.byName, name)
			}
		}
		return nil, ctx.Err()
	}
	return this.ips, this.err
}

// run looks name up.
func (a *answers) run(ctx context.Context, this *answer, name string, lookup lookupFunc) {
	defer this.cancel()
	var ips []netip.Addr
	err := ctx.Err()
	select {
	case a.running <- struct{}{}:
		ips, err = lookup(ctx, name)
		<-a.running
	case <-ctx.Done():
		err = ctx.Err()
	}
	keep := ttl * time.Second
	if err != nil {
		keep = keepFailure
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	this.ips, this.err, this.until = ips, err, time.Now().Add(keep)
	close(this.done)
}

// makeRoom removes the answer that is kept the shortest, if there are too many. a.mu is held.
func (a *answers) makeRoom(now time.Time) {
	if a.byName == nil {
		a.byName = make(map[string]*answer)
	}
	var first string
	var kept int
	for name, old := range a.byName {
		switch {
		case old.until.IsZero():
		case now.After(old.until):
			delete(a.byName, name)
		default:
			kept++
			if first == "" || old.until.Before(a.byName[first].until) {
				first = name
			}
		}
	}
	if kept >= maxAnswers {
		delete(a.byName, first)
	}
}
