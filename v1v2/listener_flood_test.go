package v1v2

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// With more peers at a time than there are places, each connection either comes out and works or
// is a failure, and the Listener goes on.
func TestListenerFlood(t *testing.T) {
	testkit.NoLeaks(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const peers = 150
	var failed, worked atomic.Int64
	var all sync.WaitGroup
	all.Add(peers)
	l := &Listener{Listener: inner, Config: transport.Config{Magic: mainnet}, MaxHandshakes: 4}
	l.OnFailure = func(net.Addr, error) { failed.Add(1); all.Done() }
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer all.Done()
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(time.Minute))
				if _, err := io.Copy(nc, nc); err == nil {
					worked.Add(1)
				}
			}()
		}
	}()
	message := v1Bytes(mainnet, "ping", testBytes(8, 1))
	testkit.Each(peers, 30, func(i int) {
		nc, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(time.Minute))
		if i%3 == 0 {
			nc.Write(testBytes(i%64, uint64(i)))
			return
		}
		c, err := Client(context.Background(), nc, transport.Config{Magic: mainnet})
		if err != nil {
			return // crowded out
		}
		defer c.Close()
		if _, err := c.Write(message); err == nil {
			io.ReadFull(c, make([]byte, len(message)))
		}
	})
	all.Wait()
	l.Close()
	if failed.Load() < peers/3 || failed.Load()+worked.Load() > peers {
		t.Errorf("%d failed, %d worked, of %d", failed.Load(), worked.Load(), peers)
	}
	t.Logf("%d failed, %d worked", failed.Load(), worked.Load())
}
