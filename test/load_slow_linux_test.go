package test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bip324proxy/transport"
)

// A thousand clients and peers that send a byte every ten seconds, at every stage, do not block a well-behaved client.
// The long form also checks that each is closed at its stage's deadline.
func TestLoadSlow(t *testing.T) {
	t.Parallel()
	const each = 200
	if descriptors() < 5000 {
		notRun(t, "%d descriptors are too few", descriptors())
	}
	p := startProxy(t, "--grace", "0", "--max-sessions", "2000")
	good := startV2Peer(t)
	before := requireGood(t, p.addr, good)
	p.awaitDescriptors(t, p.settled(t))
	idle := p.usage(t)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	trickle := func(nc net.Conn, b []byte) {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for _, c := range b {
			if _, err := nc.Write([]byte{c}); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}
	random := bytes.Repeat([]byte{0x5a}, 4095)
	slowPeer := func(atOnce, size int) string { // any 64 bytes are a valid key
		return listen(t, func(nc *net.TCPConn) {
			nc.Read(make([]byte, 64)) // a responder reads first
			nc.Write(random[:atOnce])
			trickle(nc, random[:size])
		})
	}
	slowPacket := listen(t, func(nc *net.TCPConn) {
		flight := append(responderFlight(nc), random...)
		at := len(flight) - len(random) - 20
		nc.Write(flight[:at])
		trickle(nc, flight[at:])
	})
	toPeer := func(dest string) func(net.Conn) {
		return func(nc net.Conn) {
			greeting, request := socksConnectTo(dest)
			nc.Write(slices.Concat(greeting, request))
			io.ReadFull(nc, make([]byte, 12))
			nc.Write(versionBytes)
		}
	}
	greeting, request := socksConnectTo(good)
	stages := map[string]struct {
		deadline time.Duration
		play     func(nc net.Conn)
	}{
		"SOCKS greeting":     {20 * time.Second, func(nc net.Conn) { go trickle(nc, append([]byte{5, 255}, make([]byte, 255)...)) }},
		"VERSION":            {60 * time.Second, func(nc net.Conn) { nc.Write(slices.Concat(greeting, request)); go trickle(nc, versionBytes) }},
		"key, by the peer":   {60 * time.Second, toPeer(slowPeer(0, 64))},
		"garbage, by a peer": {60 * time.Second, toPeer(slowPeer(64, 4095))},
		"packet, by a peer":  {60 * time.Second, toPeer(slowPacket)},
	}
	var slow sync.WaitGroup
	ended := map[string]*durations{}
	var stay atomic.Bool
	for name, stage := range stages {
		ended[name] = &durations{}
		for range each {
			nc, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			began := time.Now()
			slow.Go(func() {
				stage.play(nc)
				io.Copy(io.Discard, nc)
				if !stay.Load() {
					ended[name].add(time.Since(began))
				}
			})
		}
	}
	eventually(t, "all clients are connected", func() bool { return p.usage(t).descriptors >= idle.descriptors+each*(1+4*2) })
	during := &durations{}
	for range 20 {
		during.add(requireGood(t, p.addr, good))
	}
	t.Logf("a well-behaved client takes %v alone; with %d slow ones, of %v", before.Round(time.Millisecond), len(stages)*each, during)
	if long {
		slow.Wait()
		for name, stage := range stages {
			t.Logf("%s, deadline %v: %v", name, stage.deadline, ended[name])
			for _, took := range ended[name].all {
				if took < stage.deadline-time.Second || took > stage.deadline+10*time.Second {
					t.Errorf("%s: closed after %v, want %v", name, took, stage.deadline)
				}
			}
		}
	} else {
		stay.Store(true)
		p.cmd.Process.Signal(syscall.SIGTERM) // none of them delays the shutdown
		slow.Wait()
		return
	}
	p.awaitDescriptors(t, idle.descriptors)
	t.Logf("afterwards: %d descriptors, as before; %d KiB resident, before %d", idle.descriptors, p.usage(t).rss>>10, idle.rss>>10)
}

// responderFlight reads an initiator's key and returns the responder's handshake flight.
func responderFlight(nc net.Conn) []byte {
	h, err := transport.NewHandshake(transport.Config{Magic: regtestMagic, Garbage: []byte{}}, false)
	if err != nil {
		return nil
	}
	in := bufio.NewReader(nc)
	key := make([]byte, 64)
	if _, err := io.ReadFull(in, key); err != nil {
		return nil
	}
	_, send, _ := h.Receive(key)
	return send
}
