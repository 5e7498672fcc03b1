package dns

import (
	"container/list"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	maxLookups = 64        // at a time
	maxWaiting = 16 * 1024 // queries that wait for a lookup
	maxAnswers = 512       // that are kept

	lookupTimeout = 30 * time.Second
	queueTimeout  = 10 * time.Second // clients ask for about as long
	keepFailure   = 5 * time.Second  // clients whose query failed repeat it at once
)

var errBusy = errors.New("too many lookups")

// answers are the answers of the last minute, and the lookups that run. A lookup serves all
// queries for its name: programs ask for A and AAAA at once, and through Tor each lookup costs
// a circuit. The zero value is ready for use.
type answers struct {
	mu      sync.Mutex
	byName  map[string]*answer
	kept    list.List // of *answer, the oldest first
	queue   []*answer // whose lookups have not begun
	running int       // lookups
	waiting int       // queries
}

// answer is the answer to queries for a name.
type answer struct {
	name  string
	asked time.Time                   // by the last query that waits
	then  []func([]netip.Addr, error) // what these queries do with it

	ips   []netip.Addr
	err   error
	until time.Time     // it is kept; zero if there is none yet
	place *list.Element // in kept
}

type lookupFunc func(ctx context.Context, name string) ([]netip.Addr, error)

// get calls then with the addresses of name, which it looks up unless they are known: at once,
// or when there is an answer. It returns false, and does not call it, if too many queries
// wait.
func (a *answers) get(name string, lookup lookupFunc, then func([]netip.Addr, error)) bool {
	now := time.Now()
	a.mu.Lock()
	this := a.byName[name]
	if this != nil && this.place != nil {
		if !now.After(this.until) {
			a.mu.Unlock()
			then(this.ips, this.err)
			return true
		}
		a.forget(this)
		this = nil
	}
	defer a.mu.Unlock()
	if a.waiting == maxWaiting {
		return false
	}
	a.waiting++
	if this == nil {
		this = &answer{name: name}
		if a.byName == nil {
			a.byName = make(map[string]*answer)
		}
		a.byName[name] = this
		if a.running < maxLookups {
			a.running++
			go a.run(this, lookup)
		} else {
			a.queue = append(a.queue, this)
		}
	}
	this.asked, this.then = now, append(this.then, then)
	return true
}

// run looks a name up, and then those of the queue.
func (a *answers) run(this *answer, lookup lookupFunc) {
	for this != nil {
		var ips []netip.Addr
		err := errBusy
		if a.stillWanted(this) {
			ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
			ips, err = lookup(ctx, this.name)
			cancel()
		}
		then, next := a.done(this, ips, err)
		for _, f := range then {
			f(ips, err)
		}
		this = next
	}
}

// stillWanted reports whether a query waits that came within queueTimeout.
func (a *answers) stillWanted(this *answer) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(this.asked) <= queueTimeout
}

// done keeps an answer. It returns what the queries that waited for it do with it, and the next
// of the queue, or nil.
func (a *answers) done(this *answer, ips []netip.Addr, err error) (then []func([]netip.Addr, error), next *answer) {
	keep := ttl * time.Second
	if err != nil {
		keep = keepFailure
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	then, this.then = this.then, nil
	a.waiting -= len(then)
	this.ips, this.err, this.until, this.place = ips, err, time.Now().Add(keep), a.kept.PushBack(this)
	if a.kept.Len() > maxAnswers {
		a.forget(a.kept.Front().Value.(*answer))
	}
	if len(a.queue) == 0 {
		a.queue = nil
		a.running--
		return then, nil
	}
	next, a.queue = a.queue[0], a.queue[1:]
	return then, next
}

// forget removes an answer that is kept. a.mu is held.
func (a *answers) forget(this *answer) {
	a.kept.Remove(this.place)
	delete(a.byName, this.name)
}
