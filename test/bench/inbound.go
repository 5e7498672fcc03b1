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

// inbound compares sessions of peers that come in with as many of clients, opened at the same pace: idle ones, after a
// message each way, and ones that close at once.
func (b *bench) inbound() ([]row, error) {
	connects, sessions := b.size(2_000), b.size(1_000)
	var kib, us [2]float64
	for i := range kib {
		proxy, err := b.startProxy("--inbound", "127.0.0.1:0="+b.v1.addr, "--inbound-network", "regtest",
			"--inbound-sessions", fmt.Sprint(sessions+1))
		if err != nil {
			return nil, err
		}
		defer proxy.stop()
		open := func() (client, peer end, err error) { return path{proxy, b.v2}.talk() }
		if i == 1 {
			open = func() (client, peer end, err error) {
				peer, err = comeIn(proxy.peers)
				if err != nil {
					return nil, nil, err
				}
				return <-b.v1.ends, peer, nil
			}
		}
		if kib[i], us[i], err = paced(proxy, open, sessions, connects); err != nil {
			return nil, err
		}
	}
	return []row{
		{what: fmt.Sprintf("%d idle inbound sessions", sessions), unit: "resident KiB each", got: once(kib[1]), limit: []part{{"outbound", once(kib[0])}}},
		{what: "inbound connect, 90 a second", unit: "CPU µs", got: once(us[1]), limit: []part{{"outbound", once(us[0])}}},
	}, nil
}

// paced returns the memory of an idle session, and the CPU time of one that closes at once.
func paced(p *program, open func() (client, peer end, err error), sessions, connects int) (kib, us float64, err error) {
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
		client, peer, err := open()
		if err != nil {
			return fmt.Errorf("after %d sessions: %w", len(ends)/2, err)
		}
		ends = append(ends, client, peer)
		return nil
	}
	if err := enter(); err != nil { // the first session also allocates shared state
		return 0, 0, err
	}
	empty := settled(p)
	for range sessions {
		if err := enter(); err != nil {
			return 0, 0, err
		}
	}
	kib = (settled(p) - empty) / float64(sessions) / (1 << 10)
	closeAll()
	time.Sleep(time.Second)
	before := p.cpu()
	for range connects {
		if err := enter(); err != nil {
			return 0, 0, err
		}
		closeAll()
	}
	return kib, (p.cpu() - before) / float64(connects) * 1e6, nil
}

// talk opens a session in which the client has sent a message after its VERSION.
func (p path) talk() (client, peer end, err error) {
	c, err := p.greet(512)
	if err != nil {
		return nil, nil, err
	}
	peer = <-p.to.ends
	if err := c.send(traffic{{"ping", make([]byte, 8)}}, 1); err != nil {
		return nil, nil, err
	}
	return c, peer, peer.receive(1)
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
