package main

import (
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// crowd is idle sessions, with the ends that hold them open.
type crowd struct {
	path
	ends []end
}

// open opens n more.
func (c *crowd) open(n int) error {
	clients := make(chan end, n)
	var group errgroup.Group
	group.SetLimit(16)
	for range n {
		group.Go(func() error {
			client, err := c.greet(512)
			if err == nil {
				clients <- client
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("after %d sessions (each needs two descriptors here and two there): %w", len(c.ends)/2, err)
	}
	for range n {
		c.ends = append(c.ends, <-clients, <-c.to.ends)
	}
	return nil
}

func (c *crowd) close() {
	for _, e := range c.ends {
		e.net().Close()
	}
}

// idle measures the cost of so many idle upgraded sessions, in a proxy for each round, of which three suffice.
func (b *bench) idle(wanted int) ([]row, error) {
	n := min(b.size(wanted), (b.descriptors-200)/2)
	var each, all, empty, cpu series
	round := func() error {
		proxy, err := b.startProxy("--max-sessions", "20000")
		if err != nil {
			return err
		}
		defer proxy.stop()
		c := &crowd{path: path{proxy, b.v2}}
		defer c.close()
		if err := c.open(1); err != nil { // the first session also allocates shared state
			return err
		}
		before := settled(proxy)
		if err := c.open(n); err != nil {
			return err
		}
		after := settled(proxy)
		const watched = 5 * time.Second
		used := proxy.cpu()
		time.Sleep(watched)
		used = proxy.cpu() - used
		const kib, mb = 1 << 10, 1e6
		each, all, empty = append(each, (after-before)/float64(n)/kib), append(all, after/mb), append(empty, before/mb)
		cpu = append(cpu, used/watched.Seconds()*100)
		return nil
	}
	for range min(b.rounds, 3) {
		if err := round(); err != nil {
			return nil, err
		}
	}
	what := fmt.Sprintf("%d idle sessions", n)
	if n < b.size(wanted) {
		what += fmt.Sprintf(" (no more with %d descriptors)", b.descriptors)
	}
	return []row{
		{what: what, unit: "resident KiB each", got: each, target: 14},
		{what: what, unit: "resident MB in all", got: all, note: figure(empty.median()) + " without them"},
		{what: what, unit: "CPU %", got: cpu, note: "target 0"},
	}, nil
}

// settled returns p's resident memory once it has not changed for 10 seconds, or after 100 seconds. The proxy collects
// garbage up to 8 seconds after the last session opened.
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
