package status

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/proxy"
)

// Throughput covers the last five minutes, in bytes per second.
func TestThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		var up, down uint64
		ctx, cancel := context.WithCancel(t.Context())
		r := new(recent)
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.sample(ctx, func() proxy.Snapshot {
				asked++
				up += 2 * uint64(asked) // increasing
				down += 10
				return proxy.Snapshot{Time: time.Now(), Counts: proxy.Counts{Traffic: map[string]proxy.Traffic{
					"v2": {BytesToPeer: up - 2, BytesToClient: down - 10}, "passthrough": {BytesToPeer: 1},
				}}, Inbound: &proxy.InboundSnapshot{Counts: proxy.Counts{Traffic: map[string]proxy.Traffic{"v2": {BytesToPeer: 1, BytesToClient: 10}}}}}
			})
		}()
		if got := r.throughput(); len(got.ToPeer) != 0 || got.Interval != 2 {
			t.Errorf("at first: got %+v", got)
		}
		time.Sleep(7 * time.Second)
		synctest.Wait()
		got := r.throughput()
		if want := []float64{2, 3, 4}; !slices.Equal(got.ToPeer, want) {
			t.Errorf("to peers %v, want %v", got.ToPeer, want)
		}
		if want := []float64{5, 5, 5}; !slices.Equal(got.ToClient, want) {
			t.Errorf("to clients %v, want %v", got.ToClient, want)
		}
		if age := time.Since(got.Until); age != time.Second {
			t.Errorf("the last sample is %v old", age)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		got = r.throughput()
		if n := len(got.ToPeer); n != 150 || len(got.ToClient) != n || got.ToPeer[n-1] != float64(asked) || got.ToPeer[0] != float64(asked-149) || !slices.IsSorted(got.ToPeer) {
			t.Errorf("at sample %d: got %v", asked, got.ToPeer)
		}
		cancel()
		<-done
	})
}

// A late snapshot counts for its actual interval.
func TestThroughputIsPerSecond(t *testing.T) {
	r := new(recent)
	began := time.Now()
	for _, s := range []struct {
		at    time.Duration
		bytes uint64
	}{{0, 0}, {2 * time.Second, 100}, {10 * time.Second, 900}, {10 * time.Second, 900}, {11 * time.Second, 900}} {
		r.add(proxy.Snapshot{Time: began.Add(s.at), Counts: proxy.Counts{Traffic: map[string]proxy.Traffic{"v1": {BytesToClient: s.bytes}}}})
	}
	if got, want := r.throughput().ToClient, []float64{50, 100, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
