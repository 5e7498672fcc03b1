package main

import (
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// ping measures the time from a client's ping to the node's pong. It uses many connections for a short time, because
// ends that share a core wake up much faster, and the kernel moves those of a busy connection apart.
func (b *bench) ping() (rows []row, err error) {
	const connections, each = 80, 100 // in a round
	paths := [3]path{b.viaProxy(), b.viaRelay(), b.directly()}
	quantiles := []struct {
		name string
		part float64
		at   [3]series // of the paths
	}{{name: "p50", part: 0.5}, {name: "p99", part: 0.99}}
	for range b.rounds {
		var took [3]series
		for range b.size(connections) {
			for i, p := range paths {
				more, err := p.pings(each)
				if err != nil {
					return nil, err
				}
				took[i] = append(took[i], more...)
			}
		}
		for k := range quantiles {
			q := &quantiles[k]
			for i, all := range took {
				q.at[i] = append(q.at[i], all.at(q.part))
			}
		}
	}
	for _, q := range quantiles {
		rows = append(rows, row{what: "ping, " + q.name, unit: "µs", got: q.at[0], limit: []part{{"relay", q.at[1]}}, target: 1.15,
			note: "without either " + figure(q.at[2].median())})
	}
	return rows, nil
}

// pings makes n round trips, one after the other, and returns their times in microseconds.
func (p path) pings(n int) (series, error) {
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
	all := make(series, n)
	for i := range all {
		begin := time.Now()
		if err := client.send(ping, 1); err != nil {
			return nil, err
		}
		if err := client.receive(1); err != nil {
			return nil, err
		}
		all[i] = float64(time.Since(begin).Nanoseconds()) / 1e3
	}
	return all, nil
}

// connects measures sessions that close as soon as they are open: SOCKS, dial, handshake, VERSION both ways, close.
func (b *bench) connects() ([]row, error) {
	transport, err := b.benchmarks("bip324proxy/transport")
	if err != nil {
		return nil, err
	}
	n := b.size(2_000)
	ways := [2]path{b.viaProxy(), b.viaRelay()}
	for _, each := range ways { // warm up
		if err := each.connectMany(n / 5); err != nil {
			return nil, err
		}
	}
	var cpu [2]series
	var rate, creation, ecdh series
	for range b.rounds {
		for i, each := range ways {
			before, begin := each.via.cpu(), time.Now()
			if err := each.connectMany(n); err != nil {
				return nil, err
			}
			cpu[i] = append(cpu[i], (each.via.cpu()-before)/float64(n)*1e6)
			if each.via == b.proxy {
				rate = append(rate, float64(n)/time.Since(begin).Seconds())
			}
		}
		c, err := transport.run("KeyCreation", "ours")
		if err != nil {
			return nil, err
		}
		e, err := transport.run("ECDH", "ours")
		if err != nil {
			return nil, err
		}
		creation, ecdh = append(creation, c.us), append(ecdh, e.us)
	}
	return []row{{
		what: "connect", unit: "CPU µs", got: cpu[0], limit: []part{{"relay", cpu[1]}, {"key creation", creation}, {"ECDH", ecdh}}, target: 1.3,
		note: fmt.Sprintf("%.0f a second, client and node on the same cores", rate.median()),
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
