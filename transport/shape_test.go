package transport

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// written is a write to a connection.
type written struct {
	at   time.Duration
	size int
}

// writesRecorder notes the writes to a connection.
type writesRecorder struct {
	net.Conn
	began  time.Time
	mu     sync.Mutex
	writes []written
}

func (r *writesRecorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.writes = append(r.writes, written{time.Since(r.began), len(b)})
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// shapedPair returns both ends of a connection whose writes are recorded.
func shapedPair(t *testing.T, initiator, responder Shape) (a, b *Conn, up, down *writesRecorder) {
	t.Helper()
	nearA, farA := pipe()
	up = &writesRecorder{Conn: nearA, began: time.Now()}
	down = &writesRecorder{Conn: farA, began: time.Now()}
	magic := [4]byte{0xf9, 0xbe, 0xb4, 0xd9}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		if b, err = Server(context.Background(), down, Config{Magic: magic, Shape: responder}); err != nil {
			t.Error(err)
		}
	}()
	a, err := Client(context.Background(), up, Config{Magic: magic, Shape: initiator, First: [][]byte{{1, 2, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	<-done
	return a, b, up, down
}

// pipe returns both ends of a connection that takes writes without a reader.
func pipe() (net.Conn, net.Conn) {
	a, a2 := net.Pipe()
	b, b2 := net.Pipe()
	go relayPipe(a2, b2)
	go relayPipe(b2, a2)
	return a, b
}

func relayPipe(dst, src net.Conn) {
	queue := make(chan []byte, 10_000)
	go func() {
		defer dst.Close()
		for b := range queue {
			if _, err := dst.Write(b); err != nil {
				src.Close()
			}
		}
	}()
	for {
		b := make([]byte, 32<<10)
		n, err := src.Read(b)
		if err != nil {
			close(queue)
			return
		}
		queue <- b[:n]
	}
}

// All messages arrive, in every mode, and each mode's writes have its sizes.
func TestShapeModes(t *testing.T) {
	for _, shape := range []Shape{{}, {Mode: ShapePad}, {Mode: ShapeCover}, {Mode: ShapeTunnel}} {
		synctest.Test(t, func(t *testing.T) {
			a, b, _, _ := shapedPair(t, shape, shape)
			defer a.Close()
			defer b.Close()
			received := make(chan int, 100)
			for _, c := range []*Conn{a, b} {
				go func() {
					for {
						p, err := c.ReadPacket()
						if err != nil {
							return
						}
						if c == b {
							received <- len(p)
						}
					}
				}()
			}
			if n := <-received; n != 3 {
				t.Errorf("first: %d", n)
			}
			for i, n := range []int{10, 300, 5000, 40_000, 500_000} {
				time.Sleep(time.Duration(i) * 15 * time.Second)
				if err := a.WritePacket(make([]byte, n)); err != nil {
					t.Error(err)
				}
				if got := <-received; got != n {
					t.Errorf("%v: received %d, want %d", shape, got, n)
				}
			}
			a.Close()
			b.Close()
		})
	}
}
