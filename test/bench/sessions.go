package main

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// ping measures the time from a client's ping to the node's pong. It uses many connections, because those whose ends
// share a core wake up much faster.
func (b *bench) ping() (rows []row, err error) {
	const rounds = 40
	paths := []path{b.viaProxy(), b.viaRelay(), b.directly()}
	times := make([][]time.Duration, len(paths))
	for range rounds {
		for i, p := range paths {
			more, err := p.pings(b.size(30_000) / rounds)
			if err != nil {
				return nil, err
			}
			times[i] = append(times[i], more...)
		}
	}
	for _, each := range []struct {
		name   string
		part   float64
		target float64
	}{{"p50", 0.5, 1.5}, {"p99", 0.99, 2}} {
		var at [3]float64
		for i, all := range times {
			slices.Sort(all)
			at[i] = float64(all[int(each.part*float64(len(all)))].Nanoseconds()) / 1e3
		}
		rows = append(rows, row{what: "ping, " + each.name, unit: "µs", got: at[0], limit: at[1], of: "(relay)",
			target: each.target, note: "without either " + figure(at[2])})
	}
	return rows, nil
}

// pings makes n round trips, one after the other.
func (p path) pings(n int) ([]time.Duration, error) {
	client, peer, err := p.open()
	if err != nil {
		return nil, err
	}
	defer client.net().Close()
	go func() {
		defer peer.net().Close()
		for peer.receive(1) == nil {
			if peer.send(traffic{{"pong", make([]byte, 8)}}, 1) != nil {
				return
			}
		}
	}()
	ping := traffic{{"ping", make([]byte, 8)}}
	all := make([]time.Duration, n)
	for i := range all {
		begin := time.Now()
		if err := client.send(ping, 1); err != nil {
			return nil, err
		}
		if err := client.receive(1); err != nil {
			return nil, err
		}
		all[i] = time.Since(begin)
	}
	return all, nil
}

// connects measures sessions that close as soon as they are open: SOCKS, dial, handshake, VERSION both ways, close.
func (b *bench) connects() ([]row, error) {
	n := b.size(5_000) / rounds
	var proxy, relay, wall float64
	for range rounds {
		for _, each := range []struct {
			path
			cpu *float64
		}{{b.viaProxy(), &proxy}, {b.viaRelay(), &relay}} {
			before, begin := each.via.cpu(), time.Now()
			if err := each.connectMany(n); err != nil {
				return nil, err
			}
			*each.cpu += each.via.cpu() - before
			if each.via == b.proxy {
				wall += time.Since(begin).Seconds()
			}
		}
	}
	creation, ecdh, err := keyCosts()
	if err != nil {
		return nil, err
	}
	total := float64(n * rounds)
	us := func(s float64) float64 { return s / total * 1e6 }
	return []row{{
		what: "connect", unit: "CPU µs", got: us(proxy), limit: us(relay) + creation*1e6 + ecdh*1e6, target: 1.3,
		of:   fmt.Sprintf("(relay %s, key creation %s, ECDH %s)", figure(us(relay)), figure(creation*1e6), figure(ecdh*1e6)),
		note: fmt.Sprintf("%.0f a second, client and node on the same cores", total/wall),
	}}, nil
}

// connectMany opens and closes n sessions, four at a time.
func (p path) connectMany(n int) error {
	var group errgroup.Group
	group.SetLimit(4)
	for range n {
		group.Go(func() error {
			client, err := p.greet(4 << 10)
			if err != nil {
				return err
			}
			client.net().Close()
			peer := <-p.to.ends
			peer.receive(1) // until the peer sees the close
			return peer.net().Close()
		})
	}
	return group.Wait()
}
