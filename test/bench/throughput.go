package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// spent is the cost of a transfer, in seconds.
type spent struct {
	cpu  float64 // of the proxy or relay
	wall float64
}

// transfer opens a session and sends down and up through it, times times each.
func (p path) transfer(down, up traffic, times int) (spent, error) {
	client, peer, err := p.open()
	if err != nil {
		return spent{}, err
	}
	defer peer.net().Close()
	defer client.net().Close()
	before, begin := p.via.cpu(), time.Now()
	done := make(chan error, 4)
	go func() { done <- peer.send(down, times) }()
	go func() { done <- client.receive(len(down) * times) }()
	go func() { done <- client.send(up, times) }()
	go func() { done <- peer.receive(len(up) * times) }()
	for range 4 {
		if err := <-done; err != nil {
			return spent{}, err
		}
	}
	return spent{cpu: p.via.cpu() - before, wall: time.Since(begin).Seconds()}, nil
}

// unit is what the cost of traffic depends on.
type unit struct {
	cpu   string
	wall  string                // empty: not in the table
	of    func(traffic) float64 // so many units
	round int                   // v1 bytes to transfer in a round
}

var (
	perGB      = unit{"CPU s/GB", "wall clock s/GB", func(t traffic) float64 { return float64(t.bytes()) / 1e9 }, 1.2e9}
	perMessage = unit{"CPU µs/message", "", func(t traffic) float64 { return float64(len(t)) / 1e6 }, 300e6}
)

// transfers measures traffic through the proxy and, alternately, its limit and the bare loop.
func (b *bench) transfers(what string, down, up traffic, per unit, target float64) ([]row, error) {
	all := slices.Concat(down, up)
	n := per.of(all)
	times := max(1, b.size(per.round)/all.bytes())
	loop, err := b.startRelay(bare)
	if err != nil {
		return nil, err
	}
	defer loop.stop()
	ways := [3]path{b.viaProxy(), b.viaRelay(), {loop, b.v2}}
	for _, each := range ways { // warm up
		if _, err := each.transfer(down, up, max(1, times/5)); err != nil {
			return nil, err
		}
	}
	seal, hash := all.aead(), all.sha256()
	var cpu, wall [3]series
	var aead, sha series
	for range b.rounds {
		for i, each := range ways {
			s, err := each.transfer(down, up, times)
			if err != nil {
				return nil, err
			}
			cpu[i] = append(cpu[i], s.cpu/float64(times)/n)
			wall[i] = append(wall[i], s.wall/float64(times)/n)
		}
		aead, sha = append(aead, alone(seal)/n), append(sha, alone(hash)/n)
	}
	rows := []row{{what: what, unit: per.cpu, got: cpu[0], limit: []part{{"AEAD", aead}, {"SHA-256", sha}, {"relay", cpu[1]}}, target: target, note: besideLoop(cpu[0], cpu[2])}}
	if per.wall != "" {
		rows = append(rows, row{what: what, unit: per.wall, got: wall[0], limit: []part{{"relay", wall[1]}}, note: besideLoop(wall[0], wall[2])})
	}
	return rows, nil
}

// besideLoop compares the proxy with the bare loop.
func besideLoop(proxy, loop series) string {
	ratio := proxy.over(loop)
	return fmt.Sprintf("a bare loop: %s, the proxy %s of it", figure(loop.median()), spreadOut(ratio, fmt.Sprintf("%.2f", ratio.median())))
}

// passthrough measures bytes that are not v1, which the proxy has the kernel copy, as the splicing relay does.
func (b *bench) passthrough() (rows []row, err error) {
	raw, err := listenRaw()
	if err != nil {
		return nil, err
	}
	splicing, err := b.startRelay(splice)
	if err != nil {
		return nil, err
	}
	defer splicing.stop()
	total := b.size(2e9)
	for _, down := range []bool{true, false} {
		var cost [2]series
		for range b.rounds {
			for i, via := range []*program{b.proxy, splicing} {
				used, err := path{via, raw}.stream(total, down)
				if err != nil {
					return nil, err
				}
				cost[i] = append(cost[i], used/float64(total)*1e9)
			}
		}
		what := map[bool]string{true: "passthrough, down", false: "passthrough, up"}[down]
		rows = append(rows, row{what: what, unit: "CPU s/GB", got: cost[0], limit: []part{{"splicing relay", cost[1]}}, target: 1.1})
	}
	return rows, nil
}

// stream sends n arbitrary bytes and returns the CPU time that the proxy or relay used.
func (p path) stream(n int, down bool) (cpu float64, err error) {
	client, err := p.dial()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if _, err := client.Write([]byte("hello, node")); err != nil {
		return 0, err
	}
	node := (<-p.to.ends).net()
	defer node.Close()
	if _, err := io.ReadFull(node, make([]byte, len("hello, node"))); err != nil {
		return 0, err
	}
	from, to := client, node
	if down {
		from, to = node, client
	}
	before := p.via.cpu()
	sent := make(chan error, 1)
	go func() {
		b := make([]byte, 256<<10)
		var err error
		for left := n; left > 0 && err == nil; left -= len(b) {
			b = b[:min(left, len(b))]
			_, err = from.Write(b)
		}
		sent <- err
	}()
	b := make([]byte, 256<<10)
	for left := n; left > 0; {
		k, err := to.Read(b)
		if err != nil {
			return 0, err
		}
		left -= k
	}
	return p.via.cpu() - before, <-sent
}
