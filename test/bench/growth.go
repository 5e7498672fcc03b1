package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// visitors is how many sessions have a message on the way at a time, whatever the number of sessions: only that number
// differs between the columns of the table.
const visitors = 10

// pair is both ends of a session.
type pair struct {
	client *v1End
	peer   end
}

func (p pair) close() {
	p.client.net().Close()
	p.peer.net().Close()
}

// announce sends an inv down.
func (p pair) announce() error {
	if err := p.peer.send(invs[:1], 1); err != nil {
		return err
	}
	return p.client.receive(1)
}

// ping sends a ping up and the pong down, and returns how long that took.
func (p pair) ping() (time.Duration, error) {
	begin := time.Now()
	if err := p.client.send(traffic{{"ping", make([]byte, 8)}}, 1); err != nil {
		return 0, err
	}
	if err := p.peer.receive(1); err != nil {
		return 0, err
	}
	if err := p.peer.send(traffic{{"pong", make([]byte, 8)}}, 1); err != nil {
		return 0, err
	}
	err := p.client.receive(1)
	return time.Since(begin), err
}

// messagesPerVisit is how many messages a visit sends.
const messagesPerVisit = 3

func (p pair) visit() error {
	if err := p.announce(); err != nil {
		return err
	}
	_, err := p.ping()
	return err
}

// sessionSet is the open sessions of one program.
type sessionSet struct {
	path
	pairs []pair
}

// grow opens sessions until there are n.
func (c *sessionSet) grow(n int) error {
	for len(c.pairs) < n {
		client, err := c.greet(512)
		if err != nil {
			return fmt.Errorf("after %d sessions (each needs two descriptors here and two there): %w", len(c.pairs), err)
		}
		c.pairs = append(c.pairs, pair{client, <-c.to.ends})
	}
	return nil
}

func (c *sessionSet) close() {
	for _, p := range c.pairs {
		p.close()
	}
	c.via.stop()
}

// visitAll visits the sessions in turn, n times in all; with an interval, each visitor so often.
func (c *sessionSet) visitAll(n int, interval time.Duration) error {
	var group errgroup.Group
	for i := range visitors {
		group.Go(func() error {
			due := time.Now().Add(interval / visitors * time.Duration(i))
			for at := i; at < n; at += visitors {
				time.Sleep(time.Until(due))
				due = due.Add(interval)
				if err := c.pairs[at%len(c.pairs)].visit(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// pings pings the sessions in turn, n times in all, and returns the median and the 99th percentile.
func (c *sessionSet) pings(n int) (p50, p99 time.Duration, err error) {
	all := make([]time.Duration, n)
	for i := range all {
		if all[i], err = c.pairs[i%len(c.pairs)].ping(); err != nil {
			return 0, 0, err
		}
	}
	slices.Sort(all)
	return all[n/2], all[n*99/100], nil
}

// The quantities of the growth scenario.
const (
	residentNew   = "resident KiB per session, before its first message"
	residentUsed  = "resident KiB per session, after messages both ways"
	idleCPU       = "idle, CPU %"
	messageBusy   = "message, flat out, CPU µs"
	messageSlow   = "message, 3,000 a second in all, CPU µs"
	connectCPU    = "one more connect, CPU µs"
	pingMedian    = "ping, p50, µs"
	pingTail      = "ping, p99, µs"
	slowInterval  = 10 * time.Millisecond // of each visitor: 1,000 visits a second
	idleWatched   = 61 * time.Second      // whatever is periodic happens once
	largestGrowth = 10_000
)

// growth measures what sessions, messages and connects cost with more and more sessions open.
func (b *bench) growth() ([]row, error) {
	for range b.rounds {
		for _, n := range b.sizes() {
			for _, of := range []string{ofProxy, ofRelay} {
				fmt.Fprintf(os.Stderr, "  %d sessions, %s …\n", n, of)
				if err := b.growTo(n, of); err != nil {
					return nil, err
				}
			}
		}
	}
	return nil, nil
}

// growthIdle measures the CPU time that idle sessions take: the fewer ones at the same time, then the most.
func (b *bench) growthIdle(most bool) ([]row, error) {
	sizes := b.sizes()
	if last := len(sizes) - 1; most {
		sizes = sizes[last:]
	} else {
		sizes = sizes[:last]
	}
	var sets []*sessionSet
	defer func() {
		for _, c := range sets {
			c.close()
		}
	}()
	for _, n := range sizes {
		c, err := b.sessionSet(ofProxy)
		sets = append(sets, c)
		if err == nil {
			err = c.grow(n)
		}
		if err != nil {
			return nil, err
		}
	}
	time.Sleep(5 * time.Second) // until garbage is collected
	watched := idleWatched
	if b.quick {
		watched = time.Second
	}
	before := make([]float64, len(sizes))
	for i, c := range sets {
		before[i] = c.via.cpu()
	}
	time.Sleep(watched)
	for i, c := range sets {
		b.points.add(ofProxy, idleCPU, sizes[i], (c.via.cpu()-before[i])/watched.Seconds()*100)
	}
	return nil, nil
}

// sizes returns the numbers of sessions.
func (b *bench) sizes() (all []int) {
	for n := 10; n <= largestGrowth; n *= 10 {
		all = append(all, min(n, (b.descriptors-200)/2))
	}
	if b.quick {
		all = all[:2]
	}
	return slices.Compact(all)
}

// growTo measures the proxy or the relay with n sessions, in a process of its own.
func (b *bench) growTo(n int, of string) error {
	c, err := b.sessionSet(of)
	defer c.close()
	if err != nil {
		return err
	}
	if err := c.grow(1); err != nil { // the first session also allocates shared state
		return err
	}
	first := steady(c.via)
	if err := c.grow(n); err != nil {
		return err
	}
	return b.measure(c, first, func(what string, value float64) { b.points.add(of, what, n, value) })
}

// sessionSet starts the proxy or the relay. The set must be closed, even after an error.
func (b *bench) sessionSet(of string, flags ...string) (c *sessionSet, err error) {
	c = &sessionSet{path: path{to: b.v2}}
	if of == ofProxy {
		c.via, err = b.startProxy(append(flags, "--max-sessions", "20000")...)
		return c, err
	}
	if c.via, err = b.startRelay(small); err == nil {
		c.to, err = listenSmallV1()
	}
	return c, err
}

// listenSmallV1 is listenV1 for many connections that send little.
func listenSmallV1() (*node, error) {
	return listen("127.0.0.1", func(conn net.Conn) (end, error) {
		e := newV1End(conn, 512)
		if err := e.receive(1); err != nil {
			return nil, err
		}
		return e, e.send(traffic{version}, 1)
	})
}

// measure measures everything with the present sessions. first is the resident memory with one.
func (b *bench) measure(c *sessionSet, first float64, add func(what string, value float64)) error {
	const kib, us = 1 << 10, 1e6
	resident := func() float64 { return (steady(c.via) - first) / float64(len(c.pairs)-1) / kib }
	cpu := func(n int, work func() error) (float64, error) {
		before := c.via.cpu()
		err := work()
		return (c.via.cpu() - before) / float64(n) * us, err
	}
	add(residentNew, resident())
	if err := c.visitAll(len(c.pairs), 0); err != nil { // the first messages take more stack
		return err
	}
	add(residentUsed, resident())
	for _, each := range []struct {
		what     string
		visits   int
		interval time.Duration
	}{{messageBusy, b.size(12_000), 0}, {messageSlow, b.size(3_000), slowInterval}} {
		used, err := cpu(each.visits*messagesPerVisit, func() error { return c.visitAll(each.visits, each.interval) })
		if err != nil {
			return err
		}
		add(each.what, used)
	}
	p50, p99, err := c.pings(b.size(5_000))
	if err != nil {
		return err
	}
	add(pingMedian, p50.Seconds()*us)
	add(pingTail, p99.Seconds()*us)
	connects := b.size(800)
	used, err := cpu(connects, func() error { return c.connectMany(connects) })
	add(connectCPU, used)
	return err
}

// steady returns p's resident memory once it has not changed for two seconds, or after 20.
func steady(p *program) float64 {
	last, since := p.resident(), time.Now()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until) && time.Since(since) < 2*time.Second; {
		time.Sleep(200 * time.Millisecond)
		if now := p.resident(); now < last*0.995 || now > last*1.005 {
			last, since = now, time.Now()
		}
	}
	return p.resident()
}
