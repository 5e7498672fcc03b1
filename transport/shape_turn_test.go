package transport

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A large message leaves when a false burst would, in the place of a cell.
func TestTunnelLargeMessagesAtTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, down, received := tunnelPair(t, Shape{}, Shape{})
		defer a.Close()
		defer b.Close()
		for i := range 50 {
			began, n := time.Now(), 100_000+i*40_000
			if err := b.WriteInPlace(make([]byte, Headroom+n+Tailroom)); err != nil {
				t.Fatal(err)
			}
			if err := b.WritePacket(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			for _, want := range []int{n, 100} {
				if got := <-received; got != want {
					t.Errorf("received %d, want %d", got, want)
				}
			}
			if d := time.Since(began); d > 2*tunnelEvery*3/2 {
				t.Errorf("it took %v", d)
			}
			time.Sleep(10 * time.Second)
		}
		if bursts := down.tunnelSizes(t); len(bursts) < 50 {
			t.Errorf("%d bursts", len(bursts))
		}
		down.gaps(t)
	})
}

// What ends the wait for a tick: a deadline, Close, and Interrupt, after which the message leaves.
func TestTunnelLargeMessageEnds(t *testing.T) {
	large := make([]byte, 100_000)
	for name, c := range map[string]struct {
		end  func(c *Conn)
		want error
	}{
		"deadline":       {func(c *Conn) { c.SetWriteDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		"later deadline": {func(c *Conn) { c.SetWriteDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
		"close":          {func(c *Conn) { c.Close() }, net.ErrClosed},
		"interrupt":      {func(c *Conn) { c.Interrupt() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, _, down, received := tunnelPair(t, Shape{Fakes: noFakes}, Shape{Fakes: noFakes})
				defer a.Close()
				defer b.Close()
				cell := down.number()
				for down.number() == cell { // the next one is half a second away
					time.Sleep(time.Millisecond)
				}
				began := time.Now()
				written := make(chan error)
				go func() { written <- b.WritePacket(large) }()
				time.Sleep(100 * time.Millisecond)
				select {
				case err := <-written:
					t.Fatalf("it does not wait: %v", err)
				default:
				}
				c.end(b)
				if err := <-written; !errors.Is(err, c.want) {
					t.Errorf("the error is %v, want %v", err, c.want)
				}
				if d := time.Since(began); d > 110*time.Millisecond {
					t.Errorf("it took %v", d)
				}
				switch {
				case name == "close":
					return
				case c.want == nil:
					if got := <-received; got != len(large) {
						t.Errorf("received %d", got)
					}
					return
				}
				b.SetWriteDeadline(time.Time{})
				time.Sleep(10 * time.Second)
				down.gaps(t) // no cell's place was kept
				if err := b.WritePacket(large); err != nil {
					t.Error(err)
				}
				if got := <-received; got != len(large) {
					t.Errorf("received %d", got)
				}
				down.gaps(t)
			})
		})
	}
}

// Of several that wait none is left behind.
func TestTunnelLargeMessagesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, down, received := tunnelPair(t, Shape{Fakes: noFakes}, Shape{Fakes: noFakes})
		defer a.Close()
		defer b.Close()
		began := time.Now()
		var writers sync.WaitGroup
		for range 5 {
			writers.Go(func() {
				if err := b.WritePacket(make([]byte, 100_000)); err != nil {
					t.Error(err)
				}
			})
		}
		for range 5 {
			<-received
		}
		writers.Wait()
		if d := time.Since(began); d > tunnelEvery*3/2 {
			t.Errorf("it took %v", d)
		}
		down.tunnelSizes(t)
		if n := b.Shaping().Overflows; n != 1 {
			t.Errorf("%d overflows", n)
		}
	})
}

// A peer that asks for few cells cannot make large messages wait for long.
func TestTunnelLargeMessageWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, _, received := tunnelPair(t, Shape{Every: maxEvery}, Shape{})
		defer a.Close()
		defer b.Close()
		time.Sleep(10 * time.Minute)
		for range 20 {
			began := time.Now()
			if err := b.WritePacket(make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			<-received
			if d := time.Since(began); d > tunnelEvery*3/2 {
				t.Errorf("it took %v", d)
			}
			time.Sleep(10 * time.Minute)
		}
	})
}
