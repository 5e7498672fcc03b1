package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var ip1 = netip.MustParseAddr("192.0.2.1")

// Queries for a name share a lookup, and its answer for a minute; that of a failure for five
// seconds.
func TestOneLookup(t *testing.T) {
	for _, c := range []struct {
		err  error
		keep time.Duration
	}{{nil, time.Minute}, {errors.New("failed"), 5 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			var lookups atomic.Int64
			a := answers{running: make(chan struct{}, maxLookups)}
			get := func() {
				ips, err := a.get(t.Context(), "node.example", func(context.Context, string) ([]netip.Addr, error) {
					lookups.Add(1)
					time.Sleep(time.Second)
					return []netip.Addr{ip1}, c.err
				})
				if err != c.err || len(ips) != 1 || ips[0] != ip1 {
					t.Errorf("got %v, %v", ips, err)
				}
			}
			var clients sync.WaitGroup
			for range 10 {
				clients.Go(get)
			}
			clients.Wait()
			time.Sleep(c.keep)
			get()
			if n := lookups.Load(); n != 1 {
				t.Errorf("%d lookups, want 1", n)
			}
			time.Sleep(time.Nanosecond)
			get()
			if n := lookups.Load(); n != 2 {
				t.Errorf("%d lookups, want another when the answer is old", n)
			}
		})
	}
}

// At most 64 lookups run at a time; the others wait, and the answers of the last names are kept.
func TestManyLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most int
		var mu sync.Mutex
		add := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			now += n
			most = max(most, now)
		}
		a := answers{running: make(chan struct{}, maxLookups)}
		var clients sync.WaitGroup
		for i := range 3000 {
			clients.Go(func() {
				_, err := a.get(t.Context(), fmt.Sprint(i), func(context.Context, string) ([]netip.Addr, error) {
					add(1)
					time.Sleep(time.Millisecond)
					add(-1)
					return []netip.Addr{ip1}, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
		if most != maxLookups {
			t.Errorf("%d lookups at a time, want %d", most, maxLookups)
		}
		for i := range maxAnswers {
			if _, err := a.get(t.Context(), fmt.Sprint("later", i), func(context.Context, string) ([]netip.Addr, error) { return nil, nil }); err != nil {
				t.Error(err)
			}
		}
		if n := len(a.byName); n > 3000 {
			t.Errorf("%d answers", n)
		}
		time.Sleep(2 * time.Minute)
		a.get(t.Context(), "last", func(context.Context, string) ([]netip.Addr, error) { return nil, nil })
		if n := len(a.byName); n != 1 {
			t.Errorf("%d answers are kept, want only the last", n)
		}
	})
}

// A lookup is canceled when nothing waits for it any more, and not before.
func TestLookupCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := answers{running: make(chan struct{}, maxLookups)}
		ended := make(chan error, 1)
		lookup := func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
		var cancels []context.CancelFunc
		var clients sync.WaitGroup
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			clients.Go(func() {
				if _, err := a.get(ctx, "node.example", lookup); err != context.Canceled {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		cancels[0]()
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("the lookup ended while a query waited")
		}
		cancels[1]()
		clients.Wait()
		synctest.Wait()
		if len(ended) != 1 {
			t.Error("the lookup goes on without a query")
		}
		if ips, err := a.get(t.Context(), "node.example", func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{ip1}, nil }); err != nil || len(ips) != 1 {
			t.Errorf("after a canceled lookup: got %v, %v", ips, err)
		}
	})
}
