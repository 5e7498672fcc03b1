package main

import (
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// idle measures the cost of idle upgraded sessions, in a separate proxy.
func (b *bench) idle() ([]row, error) {
	proxy, err := b.startProxy("--max-sessions", "20000")
	if err != nil {
		return nil, err
	}
	defer proxy.stop()
	p := path{proxy, b.v2}
	var ends []end
	defer func() {
		for _, e := range ends {
			e.net().Close()
		}
	}()
	open := func(n int) error {
		clients := make(chan end, n)
		var group errgroup.Group
		group.SetLimit(16)
		for range n {
			group.Go(func() error {
				client, err := p.greet(512)
				if err == nil {
					clients <- client
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for range n {
			ends = append(ends, <-clients, <-p.to.ends)
		}
		return nil
	}
	if err := open(1); err != nil { // the first session also allocates shared state
		return nil, err
	}
	empty := settled(proxy)
	n := min(b.size(10_000), (b.descriptors-200)/2)
	if err := open(n); err != nil {
		return nil, fmt.Errorf("after %d sessions (each needs two descriptors here and two there): %w", len(ends)/2, err)
	}
	full := settled(proxy)
	before := proxy.cpu()
	const watched = 20 * time.Second
	time.Sleep(watched)
	used := proxy.cpu() - before
	const kib, mb = 1 << 10, 1e6
	what := fmt.Sprintf("%d idle sessions", n)
	if n < b.size(10_000) {
		what += fmt.Sprintf(" (no more with %d descriptors)", b.descriptors)
	}
	return []row{
		{what: what, unit: "resident KiB each", got: once((full - empty) / float64(n) / kib), target: 14},
		{what: what, unit: "resident MB in all", got: once(full / mb), target: 250, note: figure(empty/mb) + " without them"},
		{what: what, unit: "CPU %", got: once(used / watched.Seconds() * 100), note: "target 0"},
	}, nil
}

// settled returns p's resident memory once it has not changed for 10 seconds, or after 100 seconds.
func settled(p *program) float64 {
	last, since := p.resident(), time.Now()
	for until := time.Now().Add(100 * time.Second); time.Now().Before(until) && time.Since(since) < 10*time.Second; {
		time.Sleep(500 * time.Millisecond)
		if now := p.resident(); now < last*0.995 || now > last*1.005 {
			last, since = now, time.Now()
		}
	}
	return p.resident()
}
