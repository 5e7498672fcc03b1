package test

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// In a thousand sessions with cells all messages arrive, each in a cell, and what the cells needed ends with them.
func TestLoadShaped(t *testing.T) {
	t.Parallel()
	sessions := min(1000, descriptors()/2-100) / 8 * 8 // this process holds both ends
	p := startProxy(t, "--grace", "0", "--max-sessions", "10000", "--shape", "cover,every=1s", "--status", "127.0.0.1:0")
	status := p.await(t, "the status page", func(e event) bool { return e.Msg == "status page" }).Addr
	peer := startV2Peer(t)
	requireGood(t, p.addr, peer)
	empty := p.usage(t)
	all := upgradeMany(t, p, peer, sessions)
	ping := func(nc net.Conn, before []byte) { // which the peer does not answer
		nc.SetDeadline(time.Now().Add(patience))
		nc.Write(slices.Concat(before, pingBytes))
		if _, err := io.ReadFull(nc, make([]byte, pongSize)); err != nil {
			t.Errorf("a session ended: %v", err)
		}
	}
	each := func(do func(nc net.Conn)) {
		var doing sync.WaitGroup
		for _, nc := range all {
			doing.Go(func() { do(nc) })
		}
		doing.Wait()
	}
	each(func(nc net.Conn) { ping(nc, hostile.V1On(regtestMagic, "tx", pool[:100_000])) }) // cells begin after 64 KiB
	eventually(t, "cells in all sessions", func() bool {
		inCells := 0
		for _, s := range shapedSessions(t, status) {
			if s.Shape == "cover" {
				inCells++
			}
		}
		return inCells == len(all)
	})
	before, began := p.usage(t), time.Now()
	each(func(nc net.Conn) {
		began := time.Now()
		for range 3 {
			ping(nc, nil)
		}
		if took := time.Since(began); took < time.Second/2 { // from the first cell to the third it is a second, less if the first was late
			t.Errorf("three pings did not wait for cells: %v", took)
		}
	})
	took, after := time.Since(began), p.usage(t)
	t.Logf("%d sessions with cells: %v of CPU time in %v, %.1f KiB resident each, %d threads", len(all),
		after.cpu-before.cpu, took.Round(time.Millisecond), float64(after.rss-empty.rss)/1024/float64(len(all)), after.threads)
	for _, nc := range all {
		nc.Close()
	}
	eventually(t, "the sessions end, and what they had open", func() bool {
		return len(shapedSessions(t, status)) == 0 && p.usage(t).descriptors < 50
	})
}
