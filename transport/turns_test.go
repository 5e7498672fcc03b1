package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// While the semaphore is full, a handshake sends nothing and waits until its context ends;
// afterwards it runs as usual.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(chan struct{}, 1)
		dial := func(wait time.Duration) error {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go func() {
				if c, err := Server(context.Background(), theirs, Config{Magic: [4]byte{1, 2, 3, 4}}); err == nil {
					c.ReadPacket()
					c.Close()
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			c, err := Client(ctx, ours, Config{Magic: [4]byte{1, 2, 3, 4}, Semaphore: turns})
			if err == nil {
				c.Close()
			}
			return err
		}

		turns <- struct{}{}
		began := time.Now()
		err := dial(time.Minute)
		var failed *HandshakeError
		if !errors.As(err, &failed) || failed.Sent != 0 || failed.Received != 0 || !errors.Is(err, context.DeadlineExceeded) || failed.HungUp() {
			t.Errorf("while the semaphore was full: got %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("the handshake took %v, want a minute", took)
		}

		time.AfterFunc(10*time.Second, func() { <-turns })
		var dials sync.WaitGroup
		for range 20 {
			dials.Go(func() {
				if err := dial(11 * time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		dials.Wait()
		if len(turns) != 0 {
			t.Errorf("%d turns were not released", len(turns))
		}
	})
}
