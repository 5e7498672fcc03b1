package stream

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
)

const (
	bodySize   = 1 << 20
	reclaimed  = ReclaimWindow + 2*reclaimEvery // at the latest, after somebody waits
	comfort    = 2 * MinRate
	starvation = MinRate / 4
)

// bodyPeer is the other end of a Reader or Writer, which sends or takes a body at a rate.
type bodyPeer struct {
	rate int // bytes a second, after the first ones
	err  error
	took time.Duration
	done chan struct{}
}

// receives reads a body of bodySize from the peer, of which the first bytes come at once.
func (p *bodyPeer) receives(m *Memory, at int) {
	p.run(func(a, b net.Conn) error {
		go func() {
			if _, err := a.Write(make([]byte, at)); err != nil || p.rate == 0 {
				return
			}
			for {
				time.Sleep(time.Second / 8)
				if _, err := a.Write(make([]byte, p.rate/8)); err != nil {
					return
				}
			}
		}()
		r := NewReader(b)
		r.SetMemory(m)
		r.Reclaim()
		r.SetIdle(BodyTimeout)
		var body Body
		defer body.Release()
		return r.ReadBody(&body, 0, bodySize, 0, nil)
	})
}

// sends writes a body from m to the peer, which takes the first bytes at once.
func (p *bodyPeer) sends(m *Memory, at int) {
	p.run(func(a, b net.Conn) error {
		go func() {
			if _, err := io.CopyN(io.Discard, a, int64(at)); err != nil || p.rate == 0 {
				return
			}
			for {
				time.Sleep(time.Second / 8)
				if _, err := io.CopyN(io.Discard, a, int64(p.rate/8)); err != nil {
					return
				}
			}
		}()
		body, err := m.take(bodySize, time.Now().Add(BodyTimeout), nil, nil)
		if err != nil {
			return err
		}
		defer m.put(body)
		w := NewWriter(b)
		w.SetStall(BodyTimeout)
		w.Reclaim(m)
		return w.Send(body)
	})
}

func (p *bodyPeer) run(f func(a, b net.Conn) error) {
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		began := time.Now()
		p.err = f(a, b)
		p.took = time.Since(began)
	}()
	synctest.Wait()
}

// ended reports whether the body has come to an end.
func (p *bodyPeer) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

var directions = map[string]func(p *bodyPeer, m *Memory, at int){"receives": (*bodyPeer).receives, "sends": (*bodyPeer).sends}

// A peer that sends or takes a body too slowly loses the memory once another body waits for it, not
// before; one that is fast enough does not, and nobody loses any in a Memory that is not reclaimed.
func TestReclaim(t *testing.T) {
	for name, begin := range directions {
		for _, c := range []struct {
			name  string
			m     func(int) *Memory
			rate  int
			waits bool
			ends  bool
		}{
			{"stalled", NewReclaimingMemory, 0, true, true},
			{"slow", NewReclaimingMemory, starvation, true, true},
			{"fast enough", NewReclaimingMemory, comfort, true, false},
			{"nobody waits", NewReclaimingMemory, 0, false, false},
			{"not reclaimed", NewMemory, 0, true, false},
		} {
			t.Run(name+", "+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := c.m(bodySize * 3 / 2)
					holder := &bodyPeer{rate: c.rate}
					begin(holder, m, 64<<10)
					time.Sleep(20 * time.Second)
					if holder.ended() {
						t.Fatalf("ended with nobody waiting: %v", holder.err)
					}
					waiter := &bodyPeer{rate: bodySize}
					if c.waits {
						waiter.receives(m, 1)
					}
					time.Sleep(reclaimed)
					if got := holder.ended(); got != c.ends {
						t.Fatalf("ended: %v, want %v; %v", got, c.ends, holder.err)
					}
					switch {
					case c.ends:
						if holder.err != ErrReclaimed || errors.Is(holder.err, ErrSlow) {
							t.Errorf("ended with %v", holder.err)
						}
						<-waiter.done
						if waiter.err != nil {
							t.Errorf("the waiting one ended with %v", waiter.err)
						}
					case c.waits:
						<-holder.done
						<-waiter.done
					default:
						time.Sleep(BodyTimeout)
					}
					<-holder.done
					requireUnused(t, m)
					time.Sleep(2 * keepUnused)
				})
			})
		}
	}
}

// The slowest lose their memory first, and no more than is needed.
func TestReclaimNoMoreThanNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewReclaimingMemory(4 * bodySize)
		var holders []*bodyPeer
		for i, rate := range []int{MinRate / 2, MinRate / 8, comfort, MinRate / 4} {
			p := &bodyPeer{rate: rate}
			if i == 1 { // of two such the progress would show in pieces too large to tell them apart
				p.sends(m, 64<<10)
			} else {
				p.receives(m, 64<<10)
			}
			holders = append(holders, p)
		}
		waiter := &bodyPeer{rate: bodySize}
		waiter.receives(m, 1)
		<-waiter.done
		for i, want := range []bool{false, true, false, false} {
			if holders[i].ended() != want {
				t.Errorf("of the holder with %d bytes a second: ended: %v, %v", holders[i].rate, !want, holders[i].err)
			}
		}
		for _, p := range holders {
			<-p.done
		}
		requireUnused(t, m)
		time.Sleep(2 * keepUnused)
	})
}

// A crowd that keeps just above the minimum cannot keep others waiting: the minimum rises with the wait.
func TestReclaimFromCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewReclaimingMemory(4 * bodySize)
		var crowd []*bodyPeer
		for range 12 {
			p := &bodyPeer{rate: MinRate * 9 / 8}
			p.receives(m, 1)
			crowd = append(crowd, p)
		}
		waiter := &bodyPeer{rate: bodySize}
		waiter.receives(m, 1)
		<-waiter.done
		if limit := 4 * (raiseAfter + reclaimed); waiter.err != nil || waiter.took > limit {
			t.Errorf("%v after %v, want %v at most", waiter.err, waiter.took, limit)
		}
		for _, p := range crowd {
			<-p.done
		}
		requireUnused(t, m)
		time.Sleep(2 * keepUnused)
	})
}

// Where the kernel counts, its counts are those of the other end: what it has sent, and what it has
// taken of what was sent to it.
func TestKernelCounts(t *testing.T) {
	a, b := testkit.TCPPair(t)
	if !isCounted(a) {
		t.Skip("not run: the kernel's counts are not known here")
	}
	if isCounted(readerConn{}) {
		t.Error("a connection without a kernel has counts")
	}
	const up, down = 12_345, 23_456
	a.Write(make([]byte, up))
	b.Write(make([]byte, down))
	io.ReadFull(b, make([]byte, up))
	io.ReadFull(a, make([]byte, down))
	sent, taken, _ := kernelCounts(a)
	for range 1000 { // acknowledgements may come a moment later
		if sent, taken, _ = kernelCounts(a); sent == down && taken >= up {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if sent != down || taken < up || taken > up+1 { // the SYN may count
		t.Errorf("sent %d, taken %d; want %d, %d", sent, taken, down, up)
	}
}

// On TCP a peer that takes nothing ends the write, although the kernel took most of it.
func TestReclaimFromTCP(t *testing.T) {
	a, _ := testkit.TCPPair(t)
	m := NewReclaimingMemory(16 << 20)
	body, err := m.take(15<<20, time.Now().Add(time.Minute), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(a)
	w.SetStall(time.Hour)
	w.Reclaim(m)
	sent := make(chan error, 1)
	go func() { sent <- w.Send(body); m.put(body) }()
	waited, err := m.take(2<<20, time.Now().Add(time.Minute), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.put(waited)
	if err := <-sent; err != ErrReclaimed {
		t.Errorf("got %v", err)
	}
	if err := w.Flush(); err != ErrReclaimed {
		t.Errorf("then: got %v", err)
	}
	requireUnused(t, m)
}
