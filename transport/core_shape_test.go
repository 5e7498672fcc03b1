package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// arrival is a write as the peer sees it.
type arrival struct {
	after time.Duration // since the first flight
	size  int
}

// corePeer answers a client with ShapeCore, in a bubble of its own.
type corePeer struct {
	net.Conn
	h        *Handshake
	began    time.Time // when the first flight arrived
	reply    []byte    // key, garbage, terminator and version packet
	arrivals []arrival
	stream   []byte // of all arrivals
}

var coreFirst = [][]byte{testBytes(113, 1), testBytes(40, 2)}

// coreFlight is the size of the second flight without Config.First, coreRest that of the rest.
var coreFlight, coreRest = terminatorSize + packetSize(0), packetSize(113) + packetSize(40)

// startCore connects a client to a peer, which has read the first flight. The channels get
// what Client returns.
func startCore(t *testing.T, ctx context.Context) (*corePeer, chan *Conn, chan error) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { b.Close() })
	conns, errs := make(chan *Conn, 1), make(chan error, 1)
	go func() {
		c, err := Client(ctx, a, Config{Magic: mainnet, First: coreFirst, Shape: Shape{Mode: ShapeCore}})
		conns <- c
		errs <- err
	}()
	h, err := NewHandshake(Config{Magic: mainnet}, false)
	if err != nil {
		t.Fatal(err)
	}
	p := &corePeer{Conn: b, h: h}
	buf := make([]byte, 1<<16)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	p.began = time.Now()
	if _, p.reply, err = h.Receive(buf[:n]); err != nil || len(p.reply) == 0 {
		t.Fatalf("reply of %d bytes, %v", len(p.reply), err)
	}
	return p, conns, errs
}

// send writes b, while reads go on.
func (p *corePeer) send(b []byte) { go p.Write(b) }

// next reads one more write.
func (p *corePeer) next() error {
	buf := make([]byte, 1<<16)
	n, err := p.Read(buf)
	if err == nil {
		p.arrivals = append(p.arrivals, arrival{time.Since(p.began), n})
		p.stream = append(p.stream, buf[:n]...)
	}
	return err
}

// check checks that all arrived: the version packet and First.
func (p *corePeer) check(t *testing.T) {
	t.Helper()
	n, _, err := p.h.Receive(p.stream)
	if err != nil || p.h.Stage() != StageDone {
		t.Fatalf("stage %q, %v", p.h.Stage(), err)
	}
	rest := p.stream[n:]
	for _, want := range coreFirst {
		size, err := p.h.in.length.openLength(rest)
		if err != nil || size != len(want) {
			t.Fatalf("a packet of %d bytes, %v, want %d", size, err, len(want))
		}
		got, decoy, err := p.h.in.open(rest[lengthSize:packetSize(size)], nil)
		if err != nil || decoy || !bytes.Equal(got, want) {
			t.Errorf("got %x, decoy %v, %v, want %x", got, decoy, err, want)
		}
		rest = rest[packetSize(size):]
	}
	if len(rest) > 0 {
		t.Errorf("%d more bytes", len(rest))
	}
}

// First leaves by itself, up to 100 ms after the first flight, if the peer's key came before;
// otherwise with the version packet, at once. The bytes are the same.
func TestCoreShape(t *testing.T) {
	apart := 0
	for _, rtt := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, 99 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		for range 10 {
			synctest.Test(t, func(t *testing.T) {
				p, conns, errs := startCore(t, t.Context())
				time.Sleep(rtt)
				p.send(p.reply)
				if err := p.next(); err != nil {
					t.Fatal(err)
				}
				together := p.arrivals[0] == arrival{rtt, coreFlight + coreRest}
				if !together {
					if err := p.next(); err != nil {
						t.Fatal(err)
					}
					late := p.arrivals[1].after
					if p.arrivals[0] != (arrival{rtt, coreFlight}) || p.arrivals[1].size != coreRest || late <= rtt || late > coreVersionDelay {
						t.Errorf("after a round trip of %v the peer saw %v", rtt, p.arrivals)
					}
					apart++
				}
				switch {
				case rtt == 0 && together:
					t.Errorf("without a round trip the peer saw %v", p.arrivals)
				case rtt >= coreVersionDelay && !together:
					t.Errorf("after a round trip of %v the peer saw %v", rtt, p.arrivals)
				}
				p.check(t)
				c, err := <-conns, <-errs
				if err != nil {
					t.Fatal(err)
				}
				if got := c.Shaping(); got != (Shaping{Mode: ShapeCore}) {
					t.Errorf("the shaping is %+v", got)
				}
				// No deadline is left.
				go func() {
					time.Sleep(time.Hour)
					p.Write(p.h.out.seal(nil, []byte("later"), nil, false))
				}()
				if got, err := c.ReadPacket(); err != nil || string(got) != "later" {
					t.Errorf("read %q, %v", got, err)
				}
				c.Close()
			})
		}
	}
	if apart < 10 {
		t.Errorf("First left by itself %d times", apart)
	}
}

// First leaves in time although the rest of the peer's flight is late.
func TestCoreShapeSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, errs := startCore(t, t.Context())
		p.send(p.reply[:KeySize])
		for range 2 {
			if err := p.next(); err != nil {
				t.Fatal(err)
			}
		}
		if p.arrivals[0] != (arrival{0, coreFlight}) || p.arrivals[1].size != coreRest || p.arrivals[1].after > coreVersionDelay {
			t.Errorf("the peer saw %v", p.arrivals)
		}
		time.Sleep(10 * time.Second)
		p.send(p.reply[KeySize:])
		c, err := <-conns, <-errs
		if err != nil {
			t.Fatal(err)
		}
		p.check(t)
		c.Close()
	})
}

// While First waits, the end of the context and what the peer does wrong end the handshake at once.
func TestCoreShapeEnds(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name   string
		whole  bool // the peer's flight
		end    func(p *corePeer, cancel context.CancelCauseFunc)
		reason error
	}{
		{"context, peer incomplete", false, func(_ *corePeer, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
		{"context, peer done", true, func(_ *corePeer, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
		{"no terminator", false, func(p *corePeer, _ context.CancelCauseFunc) {
			p.Write(make([]byte, MaxGarbage+terminatorSize))
		}, ErrNoTerminator},
		{"peer hangs up", false, func(p *corePeer, _ context.CancelCauseFunc) { p.Conn.Close() }, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				p, conns, errs := startCore(t, ctx)
				n := KeySize
				if c.whole {
					n = len(p.reply)
				}
				p.send(p.reply[:n])
				if err := p.next(); err != nil || p.arrivals[0] != (arrival{0, coreFlight}) {
					t.Fatalf("the peer saw %v, %v", p.arrivals, err)
				}
				synctest.Wait()
				c.end(p, cancel)
				if conn, err := <-conns, <-errs; conn != nil || !errors.Is(err, c.reason) {
					t.Errorf("got %v, %v, want %v", conn, err, c.reason)
				}
				if late := time.Since(p.began); late != 0 {
					t.Errorf("it ended after %v", late)
				}
				if err := p.next(); err == nil {
					t.Errorf("the peer got %v", p.arrivals)
				}
			})
		})
	}
}

// A responder sends all at once: Bitcoin Core answers VERSION, and has no reason to wait.
func TestCoreShapeResponder(t *testing.T) {
	a, b := net.Pipe()
	wb := watch(b, 0)
	core := Config{Magic: mainnet, First: coreFirst, Garbage: []byte{}, Shape: Shape{Mode: ShapeCore}}
	client, server := connPair(t, a, wb, Config{Magic: mainnet}, core)
	go client.ReadPacket()
	if want := KeySize + coreFlight + coreRest; len(wb.writes) != 1 || wb.writes[0] != want {
		t.Errorf("the responder wrote %v bytes, want %v", wb.writes, want)
	}
	if got := server.Shaping(); got != (Shaping{}) {
		t.Errorf("the responder's shaping is %+v", got)
	}
}
