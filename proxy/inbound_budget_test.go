package proxy_test

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// With all sessions of peers in use, and all handshakes of peers begun, and more of both all the time,
// clients have all of their sessions, and their handshakes take no longer.
func TestInboundLeavesOutboundAlone(t *testing.T) {
	const clients, peers = 8, 16
	e := start(t, &proxy.Server{MaxSessions: clients, MaxHandshakes: 1, InboundSessions: peers})
	e.net.peer("node.example:8333", v2Peer(readAll))
	addr := e.listenInbound(testkit.Serve(t, func(nc net.Conn) {
		readV1(nc)
		nc.Write(v1Message(mainnet, "version", version))
		io.Copy(io.Discard, nc)
	}))

	// open returns how long clients took to get a session each, at the same time.
	open := func() (took []time.Duration) {
		var all []net.Conn
		for i := range clients {
			began := time.Now()
			client := e.connect("node.example:8333")
			client.Write(v1Message(mainnet, "version", version))
			e.until("a client's session", func(s proxy.Snapshot) bool { return openOutbound(s) == i+1 })
			took = append(took, time.Since(began))
			all = append(all, client)
		}
		for _, client := range all {
			client.Close()
			e.wantEnd(client, "closed", "")
		}
		slices.Sort(took)
		return took
	}
	open() // the first handshakes also allocate
	alone := open()

	for range peers {
		e.peer(addr)
	}
	e.until("all sessions of peers", func(s proxy.Snapshot) bool { return s.Inbound.Opened["v2"] >= peers })
	stop, stormed := make(chan struct{}), sync.WaitGroup{}
	handshakes := make(chan struct{}, 1<<20)
	for range 4 {
		stormed.Go(func() {
			var last net.Conn
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					continue
				}
				nc.Write(randomBytes(64, 1)) // a valid key, which costs a whole computation
				if n, _ := nc.Read(make([]byte, 64)); n > 0 {
					handshakes <- struct{}{}
				}
				if last != nil {
					last.Close()
				}
				last = nc
			}
		})
	}
	for range 50 {
		receive(t, handshakes, "handshakes of peers")
	}
	beside := open()
	close(stop)
	stormed.Wait()
	t.Logf("a client's session takes %v alone, %v beside %d handshakes of peers", alone[clients/2], beside[clients/2], len(handshakes)+50)
	if beside[clients/2] > 20*alone[clients/2]+200*time.Millisecond {
		t.Errorf("a client's session took %v, %v without peers", beside, alone)
	}
	if now := e.server.Snapshot(); sumOf(now.Refused) > 0 {
		t.Errorf("clients were refused: %v", now.Refused)
	}
}

// readAll reads packets to the end.
func readAll(c *transport.Conn) {
	for {
		if _, err := c.ReadPacket(); err != nil {
			return
		}
	}
}

func openOutbound(s proxy.Snapshot) (n int) {
	for _, each := range s.Sessions {
		if !each.Inbound && each.Transport != "" {
			n++
		}
	}
	return n
}
