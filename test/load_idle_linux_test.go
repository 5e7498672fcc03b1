package test

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// The resource use of idle sessions, with only a ping every two minutes as Bitcoin Core sends them, does not grow with
// time.
func TestLoadIdle(t *testing.T) {
	t.Parallel()
	sessions, lasts, every := 496, 2*time.Second, 500*time.Millisecond
	if long {
		sessions, lasts, every = 10_000, time.Hour, 2*time.Minute
	}
	if text := os.Getenv("IDLE_FOR"); text != "" { // instead of an hour
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	sessions = min(sessions, descriptors()/2-100) / 8 * 8 // this process holds both ends
	p := startProxy(t, "--grace", "0", "--max-sessions", "10000")
	peer := startV2Peer(t)
	requireGood(t, p.addr, peer)
	empty := p.usage(t)

	all := upgradeMany(t, p, peer, sessions)
	pingAll := func() { // spread over the interval
		pause := every / time.Duration(len(all))
		for _, nc := range all {
			nc.SetDeadline(time.Now().Add(patience))
			nc.Write(pingBytes)
			if _, err := io.ReadFull(nc, make([]byte, pongSize)); err != nil {
				t.Fatalf("a session ended: %v", err)
			}
			time.Sleep(pause)
		}
	}
	pingAll() // everything allocated at first use exists now
	begin := p.usage(t)
	began := time.Now()
	for time.Since(began) < lasts {
		pingAll()
	}
	took := time.Since(began)
	end := p.usage(t)
	t.Logf("%d sessions for %v: %.1f KiB resident each; at the begin %d KiB, at the end %d KiB; %.2f%% of a core; %d threads, %d descriptors",
		len(all), took.Round(time.Second), float64(end.rss-empty.rss)/1024/float64(len(all)), begin.rss>>10, end.rss>>10,
		100*(end.cpu-begin.cpu).Seconds()/took.Seconds(), end.threads, end.descriptors)
	if begin.descriptors != end.descriptors {
		t.Errorf("got %d descriptors at the start, %d at the end", begin.descriptors, end.descriptors)
	}
	if limit := begin.rss + begin.rss/4 + 8<<20; end.rss > limit {
		t.Errorf("got %d KiB resident at the end, %d at the start", end.rss>>10, begin.rss>>10)
	}
	for _, nc := range all {
		nc.Close()
	}
	p.awaitDescriptors(t, p.settled(t))
}

// upgradeMany opens sessions, a multiple of 8.
func upgradeMany(t *testing.T, p *proxy, peer string, sessions int) (all []net.Conn) {
	t.Helper()
	clients := make(chan net.Conn, sessions)
	var making sync.WaitGroup
	for range 8 {
		making.Go(func() {
			for range sessions / 8 {
				nc, code, err := upgradeThrough(p.addr, peer)
				if err != nil || code != 0 {
					t.Errorf("reply %d, %v", code, err)
					return
				}
				t.Cleanup(func() { nc.Close() })
				clients <- nc
			}
		})
	}
	making.Wait()
	close(clients)
	if t.Failed() {
		t.FailNow()
	}
	for nc := range clients {
		all = append(all, nc)
	}
	return all
}
