package test

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two thousand clients a second each make the proxy connect to a peer and do a key exchange in vain: the proxy keeps
// accepting, and well-behaved clients reach their peer.
func TestLoadStorm(t *testing.T) {
	t.Parallel()
	const rate = 2000
	lasts := 2 * time.Second
	if long {
		lasts = time.Minute
	}
	if descriptors() < 10_000 {
		notRun(t, "%d descriptors are too few", descriptors())
	}
	p := startProxy(t, "--grace", "0", "--max-sessions", "2000")
	good := startV2Peer(t)
	requireGood(t, p.addr, good)
	before := p.usage(t)
	began := time.Now()

	// Any 64 bytes are a valid key. The connection ends when the handshake times out.
	key := bytes.Repeat([]byte{0x5a}, 64)
	bad := listen(t, func(nc *net.TCPConn) {
		io.ReadFull(nc, make([]byte, 64))
		nc.Write(key)
		nc.CloseWrite()
		io.Copy(io.Discard, nc)
	})
	greeting, request := socksConnectTo(bad)
	asks := slices.Concat(greeting, request)
	var granted, whole durations
	var refused, failed atomic.Int64
	storm := func() {
		began := time.Now()
		nc, err := net.Dial("tcp", p.addr)
		if err != nil {
			failed.Add(1)
			return
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		nc.Write(asks)
		var answer [12]byte
		if _, err := io.ReadFull(nc, answer[:]); err != nil || answer[3] != 0 {
			refused.Add(1)
			return
		}
		granted.add(time.Since(began))
		nc.Write(versionBytes)
		io.Copy(io.Discard, nc) // until the proxy gives up
		whole.add(time.Since(began))
	}
	var goodOnes durations
	var goodFailed atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			nc, code, err := upgradeThrough(p.addr, good)
			if err != nil || code != 0 {
				goodFailed.Add(1)
			} else {
				goodOnes.add(time.Since(began))
				nc.Close()
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	started := 0
	for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		for due := int(rate * time.Since(began).Seconds()); started < due; started++ {
			all.Go(storm)
		}
	}
	took := time.Since(began)
	all.Wait()
	after := p.usage(t)
	whileUsed := time.Since(began)
	t.Logf("%d connects in %v (%.0f/s): refused %d, failed %d; the SOCKS reply took, of %v; until the handshake had failed, of %v",
		started, took.Round(time.Second), float64(started)/took.Seconds(), refused.Load(), failed.Load(), &granted, &whole)
	t.Logf("well-behaved clients meanwhile, until VERACK: failed %d; of %v", goodFailed.Load(), &goodOnes)
	t.Logf("the proxy used %.0f%% of a core, %d KiB resident, %d threads", 100*(after.cpu-before.cpu).Seconds()/whileUsed.Seconds(), after.rss>>10, after.threads)
	if len(granted.all) == 0 {
		t.Error("no client was admitted")
	}
	requireGood(t, p.addr, good)
	p.awaitDescriptors(t, p.settled(t))
}
