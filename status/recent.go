package status

import (
	"context"
	"sync"
	"time"

	"bip324proxy/proxy"
)

const (
	// sampleEvery is the time from one sample of the traffic to the next.
	sampleEvery = 2 * time.Second

	// keepSamples is how many are kept: five minutes' worth.
	keepSamples = 150
)

// Throughput is the traffic of the last minutes, all sessions together, in bytes a
// second: the oldest first, one value for each interval, the last of which ended
// at Until. There are none yet in the first seconds.
type Throughput struct {
	Interval float64   `json:"interval_seconds"`
	Until    time.Time `json:"until"`
	ToPeer   []float64 `json:"bytes_to_peer_per_second"`
	ToClient []float64 `json:"bytes_to_client_per_second"`
}

// recent is what Throughput is made from, in a ring.
type recent struct {
	mu    sync.Mutex
	rates []rate
	next  int // where the next goes once there are keepSamples
	last  total
}

// rate is in bytes a second.
type rate struct{ toPeer, toClient float64 }

// total is what had moved at a time.
type total struct {
	time             time.Time
	toPeer, toClient uint64
}

// sample takes samples until ctx ends.
func (r *recent) sample(ctx context.Context, snapshot func() proxy.Snapshot) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		r.put(snapshot())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *recent) put(s proxy.Snapshot) {
	now := total{time: s.Time}
	for _, t := range s.Traffic {
		now.toPeer += t.BytesToPeer
		now.toClient += t.BytesToClient
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.last
	r.last = now
	seconds := now.time.Sub(before.time).Seconds()
	if before.time.IsZero() || seconds <= 0 {
		return
	}
	one := rate{float64(now.toPeer-before.toPeer) / seconds, float64(now.toClient-before.toClient) / seconds}
	if len(r.rates) < keepSamples {
		r.rates = append(r.rates, one)
		return
	}
	r.rates[r.next] = one
	r.next = (r.next + 1) % keepSamples
}

func (r *recent) throughput() Throughput {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := Throughput{
		Interval: sampleEvery.Seconds(), Until: r.last.time,
		ToPeer: make([]float64, 0, len(r.rates)), ToClient: make([]float64, 0, len(r.rates)),
	}
	for i := range r.rates {
		each := r.rates[(r.next+i)%len(r.rates)]
		t.ToPeer = append(t.ToPeer, each.toPeer)
		t.ToClient = append(t.ToClient, each.toClient)
	}
	return t
}
