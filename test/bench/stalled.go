package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	stalledSessions = 200
	stalledMessages = 3               // down, and as many up, on each session
	stalledFor      = 5 * time.Second // then they start reading
	messageMemory   = 128 << 20       // the proxy's default, passed explicitly
)

// stalled measures the memory of sessions that are sent the largest messages both ways while neither end reads, and
// then checks that nothing was lost.
func (b *bench) stalled() ([]row, error) {
	proxy, err := b.startProxy("--message-memory", "128")
	if err != nil {
		return nil, err
	}
	defer proxy.stop()
	p := path{proxy, b.v2}
	n := max(20, b.size(stalledSessions))
	payload := make([]byte, 4_000_000)
	rand.Read(payload)
	load := traffic{{"block", payload}}

	var most atomic.Uint64
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				most.Store(max(most.Load(), uint64(proxy.resident())))
			}
		}
	}()

	before := settledQuickly(proxy)
	read := make(chan struct{})
	begin := time.Now()
	var group errgroup.Group
	var slowest atomic.Int64
	for range n {
		client, peer, err := p.open()
		if err != nil {
			return nil, err
		}
		for _, each := range []struct{ from, to end }{{peer, client}, {client, peer}} {
			each.to.net().SetDeadline(time.Now().Add(patience))
			each.to.net().(*net.TCPConn).SetReadBuffer(64 << 10) // so that the proxy has to wait
			group.Go(func() error { return each.from.send(load, stalledMessages) })
			group.Go(func() error {
				<-read
				for range stalledMessages {
					got, err := each.to.next()
					if err != nil {
						return err
					}
					if !bytes.Equal(got, payload) {
						return errors.New("a message was altered")
					}
					slowest.Store(max(slowest.Load(), int64(time.Since(begin))))
				}
				return nil
			})
		}
	}
	time.Sleep(stalledFor)
	whileStalled := float64(most.Load())
	close(read)
	if err := group.Wait(); err != nil {
		return nil, err
	}
	const mib = 1 << 20
	what := fmt.Sprintf("%d sessions, %d × 4 MB each way, readers that stall", n, stalledMessages)
	return []row{{what: what, unit: "most resident MiB more than before", got: once((float64(most.Load()) - before) / mib), limit: []part{{"--message-memory", once(messageMemory / mib)}}, target: 1.05,
		note: fmt.Sprintf("%s before, %s in all while they stalled; all arrived, the last after %.0f s", figure(before/mib), figure(whileStalled/mib), time.Duration(slowest.Load()).Seconds())}}, nil
}

// settledQuickly returns p's resident memory after a short wait.
func settledQuickly(p *program) float64 {
	time.Sleep(time.Second)
	return p.resident()
}
