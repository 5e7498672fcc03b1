package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var ip1 = netip.MustParseAddr("192.0.2.1")

// lookups counts lookups, each of which takes some time.
type lookups struct {
	takes time.Duration
	err   error

	mu        sync.Mutex
	now, most int
	all       int
}

func (l *lookups) lookup(context.Context, string) ([]netip.Addr, error) {
	l.mu.Lock()
	l.now++
	l.all++
	l.most = max(l.most, l.now)
	l.mu.Unlock()
	time.Sleep(l.takes)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now--
	return []netip.Addr{ip1}, l.err
}

// Queries for a name share a lookup, and its answer for a minute; that of a failure for five
// seconds.
func TestOneLookup(t *testing.T) {
	for _, c := range []struct {
		err  error
		keep time.Duration
	}{{nil, time.Minute}, {errors.New("failed"), 5 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			var a answers
			l := &lookups{takes: time.Second, err: c.err}
			var n int
			get := func() {
				if !a.get("node.example", l.lookup, func(ips []netip.Addr, err error) {
					if err != c.err || len(ips) != 1 || ips[0] != ip1 {
						t.Errorf("got %v, %v", ips, err)
					}
					n++
				}) {
					t.Error("too many queries wait")
				}
			}
			for range 10 {
				get()
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if n != 10 || l.all != 1 {
				t.Errorf("%d answers by %d lookups, want 10 by one", n, l.all)
			}
			time.Sleep(c.keep)
			get()
			if n != 11 || l.all != 1 {
				t.Errorf("%d answers by %d lookups, want the one that is kept", n, l.all)
			}
			time.Sleep(time.Nanosecond)
			get()
			time.Sleep(time.Second)
			synctest.Wait()
			if n != 12 || l.all != 2 {
				t.Errorf("%d answers by %d lookups, want another when the answer is old", n, l.all)
			}
		})
	}
}

// At most 64 lookups run at a time; the others wait, and the last answers are kept.
func TestManyLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a answers
		l := &lookups{takes: time.Millisecond}
		var mu sync.Mutex
		var n int
		for i := range maxWaiting {
			if !a.get(fmt.Sprint(i), l.lookup, func(_ []netip.Addr, err error) {
				mu.Lock()
				defer mu.Unlock()
				n++
				if err != nil {
					t.Error(err)
				}
			}) {
				t.Fatalf("query %d cannot wait", i)
			}
		}
		if a.get("another", l.lookup, nil) || a.get("0", l.lookup, nil) {
			t.Error("more queries wait than may")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n != maxWaiting || l.most != maxLookups {
			t.Errorf("%d answers, by %d lookups at a time", n, l.most)
		}
		if len(a.byName) != maxAnswers || a.kept.Len() != maxAnswers || a.waiting != 0 || a.running != 0 || a.queue != nil {
			t.Errorf("%d answers of %d are kept, %d queries wait, %d lookups run", len(a.byName), a.kept.Len(), a.waiting, a.running)
		}
	})
}

// A lookup that could not begin in time is not made: its clients do not wait any more.
func TestLateLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a answers
		l := &lookups{takes: lookupTimeout}
		late := make(chan error, maxLookups)
		for i := range 2 * maxLookups {
			a.get(fmt.Sprint(i), l.lookup, func(_ []netip.Addr, err error) {
				if i >= maxLookups {
					late <- err
				}
			})
		}
		time.Sleep(lookupTimeout - time.Second)
		var again error = errBusy
		a.get(fmt.Sprint(maxLookups), l.lookup, func(_ []netip.Addr, err error) { again = err })
		time.Sleep(2 * lookupTimeout)
		synctest.Wait()
		busy := 0
		for range maxLookups {
			if err := <-late; err == errBusy {
				busy++
			} else if err != nil {
				t.Error(err)
			}
		}
		if busy != maxLookups-1 || l.all != maxLookups+1 || again != nil {
			t.Errorf("%d queries were late, %d lookups, %v for a name that was asked for again; want %d, %d", busy, l.all, again, maxLookups-1, maxLookups+1)
		}
	})
}
