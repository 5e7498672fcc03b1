package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// rounds is how often proxy and relay alternate, so that disturbances affect both.
const rounds = 5

// spent is the cost of a transfer.
type spent struct {
	cpu, wall float64 // seconds; cpu of the proxy or relay
	bytes     int64   // in v1
	messages  int
}

func (s *spent) add(t spent) {
	s.cpu += t.cpu
	s.wall += t.wall
	s.bytes += t.bytes
	s.messages += t.messages
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
	return spent{
		cpu:      p.via.cpu() - before,
		wall:     time.Since(begin).Seconds(),
		bytes:    int64(times * (down.bytes() + up.bytes())),
		messages: times * (len(down) + len(up)),
	}, nil
}

// compare transfers about so many v1 bytes in each round, through the proxy and the relay alternately.
func (b *bench) compare(down, up traffic, bytes int) (proxy, relay spent, err error) {
	times := max(1, b.size(bytes)/(down.bytes()+up.bytes()))
	for _, each := range []path{b.viaProxy(), b.viaRelay()} { // warm up
		if _, err := each.transfer(down, up, max(1, times/5)); err != nil {
			return proxy, relay, err
		}
	}
	for range rounds {
		p, err1 := b.viaProxy().transfer(down, up, times)
		r, err2 := b.viaRelay().transfer(down, up, times)
		if err := errors.Join(err1, err2); err != nil {
			return proxy, relay, err
		}
		proxy.add(p)
		relay.add(r)
	}
	return proxy, relay, nil
}

// bytes measures traffic whose cost depends on its bytes.
func (b *bench) bytes(what string, down, up traffic) ([]row, error) {
	proxy, relay, err := b.compare(down, up, 6e9/rounds)
	if err != nil {
		return nil, err
	}
	all := append(append(traffic{}, down...), up...)
	aead, sha := all.aead(), all.sha256()
	perGB := func(s spent) float64 { return s.cpu / float64(s.bytes) * 1e9 }
	passes := (aead + sha) / float64(all.bytes()) * 1e9
	return []row{
		{what: what, unit: "CPU s/GB", got: perGB(proxy), limit: passes + perGB(relay), target: 1.25,
			of: fmt.Sprintf("(AEAD %s, SHA-256 %s, relay %s)", figure(aead/float64(all.bytes())*1e9), figure(sha/float64(all.bytes())*1e9), figure(perGB(relay)))},
		{what: what, unit: "wall clock s/GB", got: proxy.wall / float64(proxy.bytes) * 1e9, limit: relay.wall / float64(relay.bytes) * 1e9, of: "(relay)"},
	}, nil
}

// messages measures traffic whose cost depends on the number of messages.
func (b *bench) messages(what string, down, up traffic) ([]row, error) {
	proxy, relay, err := b.compare(down, up, 1.5e9/rounds)
	if err != nil {
		return nil, err
	}
	all := append(append(traffic{}, down...), up...)
	n := float64(len(all))
	perMessage := func(s spent) float64 { return s.cpu / float64(s.messages) * 1e6 }
	aead, sha := all.aead()/n*1e6, all.sha256()/n*1e6
	return []row{
		{what: what, unit: "CPU µs/message", got: perMessage(proxy), target: 1.5},
		{what: what, unit: "CPU µs/message", got: perMessage(proxy), limit: aead + sha + perMessage(relay),
			of: fmt.Sprintf("(AEAD %s, SHA-256 %s, relay %s)", figure(aead), figure(sha), figure(perMessage(relay)))},
	}, nil
}

// passthrough measures bytes that are not v1, which proxy and relay treat alike.
func (b *bench) passthrough() (rows []row, err error) {
	raw, err := listenRaw()
	if err != nil {
		return nil, err
	}
	for _, down := range []bool{true, false} {
		var cost [2]float64
		total := b.size(10e9 / rounds)
		for range rounds {
			for i, via := range []*program{b.proxy, b.relay} {
				used, err := path{via, raw}.stream(total, down)
				if err != nil {
					return nil, err
				}
				cost[i] += used
			}
		}
		what := map[bool]string{true: "passthrough, down", false: "passthrough, up"}[down]
		gigabytes := float64(total) * rounds / 1e9
		rows = append(rows, row{what: what, unit: "CPU s/GB", got: cost[0] / gigabytes, limit: cost[1] / gigabytes, of: "(relay)", target: 1.1})
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
