package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"bip324proxy/transport"
)

// inboundPace is the time between two peers that come in: the proxy takes 100 a second.
const inboundPace = 11 * time.Millisecond

// inbound measures peers that come in, in a proxy of its own: sessions that close as soon as the VERSIONs have been
// exchanged, and idle ones.
func (b *bench) inbound() ([]row, error) {
	connects, sessions := b.size(2_000), b.size(1_000)
	proxy, err := b.startProxy("--inbound", "127.0.0.1:0="+b.v1.addr, "--inbound-network", "regtest",
		"--inbound-sessions", fmt.Sprint(sessions+1))
	if err != nil {
		return nil, err
	}
	defer proxy.stop()
	var ends []end
	closeAll := func() {
		for _, e := range ends {
			e.net().Close()
		}
		ends = nil
	}
	defer closeAll()
	enter := func() error {
		time.Sleep(inboundPace)
		peer, err := comeIn(proxy.peers)
		if err != nil {
			return err
		}
		ends = append(ends, peer, <-b.v1.ends)
		return nil
	}
	if err := enter(); err != nil { // the first session also allocates shared state
		return nil, err
	}
	empty := settled(proxy)
	for range sessions {
		if err := enter(); err != nil {
			return nil, fmt.Errorf("after %d sessions: %w", len(ends)/2, err)
		}
	}
	each := (settled(proxy) - empty) / float64(sessions) / (1 << 10)
	closeAll()
	time.Sleep(time.Second)
	before := proxy.cpu()
	for range connects {
		if err := enter(); err != nil {
			return nil, err
		}
		closeAll()
	}
	used := proxy.cpu() - before
	return []row{
		{what: fmt.Sprintf("%d idle inbound sessions", sessions), unit: "resident KiB each", got: each},
		{what: "inbound connect, one at a time", unit: "CPU µs", got: used / float64(connects) * 1e6},
	}, nil
}

// comeIn connects a peer to the proxy's listener for peers, and exchanges VERSIONs.
func comeIn(addr string) (end, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	c, err := transport.Client(context.Background(), nc, transport.Config{Magic: magic, First: traffic{version}.contents()})
	if err != nil {
		return nil, err
	}
	e := &v2End{c}
	if err := e.receive(1); err != nil {
		nc.Close()
		return nil, fmt.Errorf("reading the node's VERSION: %w", err)
	}
	nc.SetDeadline(time.Time{})
	return e, nil
}
