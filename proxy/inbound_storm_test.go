package proxy_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"bip324proxy/announce"
	"bip324proxy/inbound"
	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// manyListener is a listener whose connections come from random addresses of many networks, or
// from loopback.
type manyListener struct{ net.Listener }

func (l manyListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	from := netip.AddrFrom4([4]byte{60 + byte(rand.IntN(40)), byte(rand.IntN(256)), byte(rand.IntN(4)), 1})
	if rand.IntN(2) == 0 { // local peers have to yield to others
		return nc, nil
	}
	return fromConn{nc.(*net.TCPConn), net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 1000))}, nil
}

// Whatever peers and the node do at once, while sessions are evicted, settings change and at last
// the server stops, all places, memory and goroutines are given back.
func TestInboundStorm(t *testing.T) {
	t.Parallel()
	const sessions, peers, rounds = 3, 16, 10
	e := start(t, &proxy.Server{InboundSessions: sessions, LingerTimeout: 50 * time.Millisecond, Policy: proxy.Policy{InboundV1: fallback.Always}})
	node := testkit.Serve(t, func(nc net.Conn) {
		nc.SetDeadline(time.Now().Add(2 * time.Second))
		switch rand.IntN(6) {
		case 0:
			return
		case 1:
			readV1(nc)
			reset(nc)
			return
		case 2:
			nc.Write(v1Message(signet, "version", version))
		case 3:
			nc.Write(v1Message(mainnet, "version", version))
			nc.Write(v1Message(mainnet, "block", largeMessage)[:rand.IntN(len(largeMessage))])
			return
		case 4:
			nc.Write(v1Message(mainnet, "version", version))
			nc.Write(v1Message(mainnet, "block", largeMessage))
		}
		io.CopyN(io.Discard, nc, int64(rand.IntN(2*len(largeMessage))))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- e.server.ServeInbound(manyListener{l}, proxy.Inbound{Node: &inbound.Node{Network: "tcp", Address: node}, Magic: mainnet})
	}()
	var all sync.WaitGroup
	for range peers {
		all.Go(func() {
			for range rounds {
				nc, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					return
				}
				nc.SetDeadline(time.Now().Add(time.Duration(rand.IntN(300)) * time.Millisecond))
				behave(nc)
				if rand.IntN(2) == 0 {
					reset(nc)
				}
				nc.Close()
			}
		})
	}
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		announced, _ := announce.Parse([]string{"203.0.113.7:8333"})
		for i := range 50 {
			p := proxy.Policy{InboundV1: fallback.Mode(i % 3), HideAddresses: i%2 == 0}
			if i%4 < 2 {
				p.Announce = announced
			}
			e.server.SetPolicy(p)
			e.server.Snapshot()
			time.Sleep(10 * time.Millisecond)
		}
	}()
	all.Wait()
	<-reloaded
	now := e.until("all to be over", func(s proxy.Snapshot) bool { return len(s.Sessions) == 0 && s.Inbound.Pending == 0 })
	in := now.Inbound
	t.Logf("opened %v, refused %v, evicted %d", in.Opened, in.Refused, in.Evicted)
	if in.MessageMemory.Taken+in.MessageMemory.Waiting > 0 {
		t.Errorf("memory in use: %+v", in.MessageMemory)
	}
	for range peers { // for the stop
		if nc, err := net.Dial("tcp", l.Addr().String()); err == nil {
			nc.SetDeadline(time.Now().Add(patience))
			all.Go(func() { behave(nc); nc.Close() })
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	e.server.Shutdown(ctx)
	all.Wait()
	receive(t, served, "ServeInbound to return")
}

// behave is a peer that does one of many things.
func behave(nc net.Conn) {
	message := v1Message(mainnet, "version", version)
	what := rand.IntN(8)
	switch what {
	case 0:
		io.Copy(io.Discard, nc)
		return
	case 1:
		nc.Write(randomBytes(rand.IntN(100), rand.Uint64()))
		io.Copy(io.Discard, nc)
		return
	case 2, 3:
		nc.Write(message[:len(message)-what%2])
		nc.Write(v1Message(mainnet, "block", largeMessage)[:rand.IntN(len(largeMessage))])
		io.CopyN(io.Discard, nc, int64(rand.IntN(len(largeMessage))))
		return
	}
	v2, err := transport.Client(context.Background(), nc, transport.Config{Magic: mainnet})
	if err != nil {
		return
	}
	if what == 4 {
		v2.WriteDecoy(largeMessage)
	}
	conn := v1v2.NewConn(v2, mainnet)
	conn.Write(message)
	if what == 5 {
		return
	}
	if what == 6 {
		conn.Write(v1Message(mainnet, "block", largeMessage))
	}
	io.CopyN(io.Discard, conn, int64(rand.IntN(2*len(largeMessage))))
	conn.Close()
}
