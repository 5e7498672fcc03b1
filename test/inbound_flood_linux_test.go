package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two thousand connections a second, each with 64 bytes that are a key, from thousands of addresses of fifty networks, cost
// the proxy little: sessions and outbound handshakes go on as if the same flood hit a listener that only closes what
// it accepts, before and after. Peers of other networks get in, the log does not grow, and no descriptor is lost.
func TestInboundFlood(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	lasts := 3 * time.Second
	if long {
		lasts = time.Minute
	}
	node := startCountingNode(t)
	p := startPublic(t, "regtest", node.addr, "--grace", "0")
	out := startV2Peer(t)
	requireGood(t, p.addr, out)
	eventually(t, "that session has ended", func() bool { return p.out.count(`"session closed"`) == 1 })
	idle := p.usage(t).descriptors
	inside := joinAll(addresses("8.%d.8.8", 10), inboundAddr, nil)
	if n := alive(inside); n != len(inside) {
		t.Fatalf("%d of %d peers are in", n, len(inside))
	}

	closing, err := net.Listen("tcp", "9.9.9.9:8334")
	if err != nil {
		t.Fatal(err)
	}
	defer closing.Close()
	go func() {
		for nc, err := closing.Accept(); err == nil; nc, err = closing.Accept() {
			nc.Close()
		}
	}()
	other := func() *flooded {
		f := floodAnd(t, p, closing.Addr().String(), out, inside, lasts)
		t.Logf("flood of another listener: %v", f)
		return f
	}
	before := other()
	lines := len(p.out.all())
	used := p.usage(t)
	var late []*inboundPeer
	var joined sync.WaitGroup
	joined.Go(func() {
		time.Sleep(lasts / 2)
		late = joinAll(addresses("9.%d.8.8", 8), inboundAddr, nil)
	})
	flood := floodAnd(t, p, inboundAddr, out, inside, lasts)
	joined.Wait()
	after := p.usage(t)
	logged := len(p.out.all()) - lines - 2*len(flood.outbound.all) - len(late) // two lines for each outbound session
	t.Logf("flood of the proxy: %v; it used %.0f%% of a core, and has %d KiB resident, %d more; %d lines logged about it", flood,
		100*(after.cpu-used.cpu).Seconds()/flood.took.Seconds(), after.rss>>10, (after.rss-used.rss)>>10, logged)

	again := other() // the load of the machine may have changed
	if before.failed+flood.failed+again.failed > 0 {
		t.Errorf("%d, %d and %d pings or outbound handshakes failed", before.failed, flood.failed, again.failed)
	}
	if n := alive(inside); n != len(inside) {
		t.Errorf("%d of %d sessions are left", n, len(inside))
	}
	if n := alive(late); n != len(late) {
		t.Errorf("%d of %d peers of other networks got in during the flood", n, len(late))
	}
	for what, took := range map[string][3]*durations{
		"pings":               {&before.pings, &again.pings, &flood.pings},
		"outbound handshakes": {&before.outbound, &again.outbound, &flood.outbound},
	} {
		beside := max(took[0].at(0.99), took[1].at(0.99))
		if p99 := took[2].at(0.99); p99 > 5*beside+500*time.Millisecond {
			t.Errorf("p99 of %s is %v, and beside a flood of another listener %v", what, p99, beside)
		}
	}
	if n := node.accepted.Load(); n != int64(len(inside)+len(late)) {
		t.Errorf("the node has seen %d connections, want %d", n, len(inside)+len(late))
	}
	if logged > 50 {
		t.Errorf("%d lines logged about %d connections", logged, flood.connects)
	}
	for _, each := range append(inside, late...) {
		if each != nil {
			each.nc.Close()
		}
	}
	p.awaitDescriptors(t, idle)
}

// flooded is what went on during a flood.
type flooded struct {
	pings, outbound durations
	failed          int64 // of those
	connects        int
	took            time.Duration
}

func (f *flooded) String() string {
	return fmt.Sprintf("%d connects in %v (%.0f/s); pings %v; outbound until VERACK %v", f.connects, f.took.Round(time.Second/10),
		float64(f.connects)/f.took.Seconds(), &f.pings, &f.outbound)
}

// floodAnd floods a listener, while peers ping the node and a client connects to out through p.
func floodAnd(t *testing.T, p *inboundProxy, target, out string, peers []*inboundPeer, lasts time.Duration) *flooded {
	t.Helper()
	const perSecond, networks = 2000, 50
	f := &flooded{}
	var failed atomic.Int64
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var all sync.WaitGroup
	for _, peer := range peers {
		all.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
				took, err := peer.ping()
				if err != nil {
					failed.Add(1)
					return
				}
				f.pings.add(took)
			}
		})
	}
	all.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			began := time.Now()
			nc, code, err := upgradeThrough(p.addr, out)
			if err != nil || code != 0 {
				failed.Add(1)
				continue
			}
			f.outbound.add(time.Since(began))
			nc.Close()
		}
	})
	key := make([]byte, 64)
	for i := range key {
		key[i] = byte(37*i + 11)
	}
	began := time.Now()
	var open sync.WaitGroup
	room := make(chan struct{}, 4000) // of descriptors
	for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		for due := int(perSecond * time.Since(began).Seconds()); f.connects < due; f.connects++ {
			from := fmt.Sprintf("66.%d.%d.%d", f.connects%networks, f.connects/networks%250, 1+f.connects%3)
			room <- struct{}{}
			open.Go(func() {
				defer func() { <-room }()
				nc, err := dialFrom(from, target)
				if err != nil {
					return
				}
				defer nc.Close()
				nc.Write(key)
				nc.SetReadDeadline(time.Now().Add(time.Second))
				io.Copy(io.Discard, nc)
			})
		}
	}
	f.took = time.Since(began)
	all.Wait()
	f.failed = failed.Load()
	open.Wait()
	return f
}
