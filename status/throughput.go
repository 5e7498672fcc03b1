package status

import (
	"context"
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

// recent measures the throughput, and the filler of the last day.
type recent struct {
	mu               sync.Mutex
	filler           fillerDay
	last             Throughput // Until is the time of the last sample
	toPeer, toClient uint64     // bytes since the start, at that time
}

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
	all := []map[string]proxy.Traffic{s.Traffic}
	if s.Inbound != nil {
		all = append(all, s.Inbound.Traffic)
	}
	for _, byTransport := range all {
		for _, t := range byTransport {
			toPeer += t.BytesToPeer
			toClient += t.BytesToClient
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if seconds := s.Time.Sub(r.last.Until).Seconds(); !r.last.Until.IsZero() && seconds > 0 {
		add := func(rates []float64, bytes uint64) []float64 {
			rates = append(rates, float64(bytes)/seconds)
			return rates[max(len(rates)-keepSamples, 0):]
		}
		r.last.ToPeer = add(r.last.ToPeer, toPeer-r.toPeer)
		r.last.ToClient = add(r.last.ToClient, toClient-r.toClient)
	}
	r.filler.add(s.Time, fillerOf(&s))
	r.last.Until, r.toPeer, r.toClient = s.Time, toPeer, toClient
}

func (r *recent) throughput() Throughput {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The slices are copied, and never nil, which JSON would have as null.
	return Throughput{sampleInterval.Seconds(), r.last.Until, append([]float64{}, r.last.ToPeer...), append([]float64{}, r.last.ToClient...)}
}

// fillerLastDay returns the filler of the last day. all is that since the start.
func (r *recent) fillerLastDay(all proxy.Filler) proxy.Filler {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.filler.of(all)
}
