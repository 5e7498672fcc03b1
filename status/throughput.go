package status

import (
	"context"
	"slices"
	"sync"
	"time"

	"bip324proxy/proxy"
)

const (
	sampleInterval = 2 * time.Second
	keepSamples    = 150 // five minutes' worth
)

// Throughput is the traffic of the last five minutes, all sessions together: the oldest first,
// one value for each interval, the last of which ended at Until.
type Throughput struct {
	Interval float64   `json:"interval_seconds"`
	Until    time.Time `json:"until"`
	ToPeer   []float64 `json:"bytes_to_peer_per_second"`
	ToClient []float64 `json:"bytes_to_client_per_second"`
}

// recent measures the throughput.
type recent struct {
	mu               sync.Mutex
	time             time.Time // of the last sample
	toPeer, toClient uint64    // bytes since the start, at that time
	rates            []rate    // the oldest first
}

// rate is in bytes per second.
type rate struct{ toPeer, toClient float64 }

// sample takes samples until ctx ends.
func (r *recent) sample(ctx context.Context, snapshot func() proxy.Snapshot) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		r.add(snapshot())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *recent) add(s proxy.Snapshot) {
	var toPeer, toClient uint64
	for _, t := range s.Traffic {
		toPeer += t.BytesToPeer
		toClient += t.BytesToClient
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if seconds := s.Time.Sub(r.time).Seconds(); !r.time.IsZero() && seconds > 0 {
		if len(r.rates) == keepSamples {
			r.rates = slices.Delete(r.rates, 0, 1)
		}
		r.rates = append(r.rates, rate{float64(toPeer-r.toPeer) / seconds, float64(toClient-r.toClient) / seconds})
	}
	r.time, r.toPeer, r.toClient = s.Time, toPeer, toClient
}

func (r *recent) throughput() Throughput {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := Throughput{Interval: sampleInterval.Seconds(), Until: r.time, ToPeer: []float64{}, ToClient: []float64{}}
	for _, rate := range r.rates {
		t.ToPeer = append(t.ToPeer, rate.toPeer)
		t.ToClient = append(t.ToClient, rate.toClient)
	}
	return t
}
