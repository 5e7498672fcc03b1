package stream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
)

const idle = time.Minute

// relayed is a Relay with what its two ends observe.
type relayed struct {
	*Relay
	a, b       net.Conn // the far ends
	up, down   atomic.Uint64
	upEnd      chan error // of AToB
	downEnd    chan error // of BToA
	aIn, bIn   net.Conn   // the near ends
	closeWrite atomic.Int32
}

// halved makes a pipe support half-closing for Relay: it only counts the calls.
type halved struct {
	net.Conn
	ends *atomic.Int32
}

func (h halved) CloseWrite() error {
	h.ends.Add(1)
	return nil
}

// piped returns a running Relay between two pipes, for use in a bubble.
func piped() *relayed {
	r := &relayed{}
	a, b := net.Conn(nil), net.Conn(nil)
	r.a, a = net.Pipe()
	r.b, b = net.Pipe()
	r.run(halved{a, &r.closeWrite}, halved{b, &r.closeWrite})
	return r
}

// overTCP returns a running Relay between two TCP connections.
func overTCP(t *testing.T) *relayed {
	t.Helper()
	r := &relayed{}
	var ends [2]net.Conn
	for i, far := range []*net.Conn{&r.a, &r.b} {
		*far, ends[i] = testkit.TCPPair(t)
		(*far).SetDeadline(time.Now().Add(10 * time.Second))
	}
	r.run(ends[0], ends[1])
	t.Cleanup(r.close)
	return r
}

func (r *relayed) run(a, b net.Conn) {
	r.aIn, r.bIn = a, b
	r.Relay = NewRelay(NewSocket(a), NewSocket(b), idle)
	r.upEnd, r.downEnd = make(chan error, 1), make(chan error, 1)
	go func() { r.upEnd <- r.AToB(&r.up) }()
	go func() { r.downEnd <- r.BToA(&r.down, func() {}) }()
}

func (r *relayed) close() {
	for _, c := range []net.Conn{r.a, r.b, r.aIn, r.bIn} {
		c.Close()
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestRelayBothWays(t *testing.T) {
	r := overTCP(t)
	up, down := noise(3<<20+1), noise(5<<20+7)
	var wg sync.WaitGroup
	for _, c := range []struct {
		from, to net.Conn
		says     []byte
	}{{r.a, r.b, up}, {r.b, r.a, down}} {
		wg.Go(func() {
			c.from.Write(c.says)
			c.from.(*net.TCPConn).CloseWrite()
		})
		wg.Go(func() {
			if b, err := io.ReadAll(c.to); !bytes.Equal(b, c.says) || err != nil {
				t.Errorf("got %d bytes of %d, %v", len(b), len(c.says), err)
			}
		})
	}
	wg.Wait()
	if err1, err2 := <-r.upEnd, <-r.downEnd; err1 != nil || err2 != nil {
		t.Errorf("ended with %v and %v", err1, err2)
	}
	if r.up.Load() != uint64(len(up)) || r.down.Load() != uint64(len(down)) {
		t.Errorf("counted %d and %d", r.up.Load(), r.down.Load())
	}
}

// The end of a stream is passed on at once, and the other direction goes on.
func TestRelayHalfClose(t *testing.T) {
	r := overTCP(t)
	r.a.Write([]byte("request"))
	r.a.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(r.b); string(b) != "request" || err != nil {
		t.Fatalf("got %q, %v", b, err)
	}
	if err := <-r.upEnd; err != nil {
		t.Fatal(err)
	}
	answer := noise(1 << 20)
	go func() {
		r.b.Write(answer)
		r.b.Close()
	}()
	if b, err := io.ReadAll(r.a); !bytes.Equal(b, answer) || err != nil {
		t.Errorf("got %d bytes, %v", len(b), err)
	}
	if err := <-r.downEnd; err != nil {
		t.Error(err)
	}
}

// If a connection does not support half-closing, the end of one direction ends both.
func TestRelayWithoutHalves(t *testing.T) {
	r := &relayed{}
	a, b := net.Conn(nil), net.Conn(nil)
	r.a, a = net.Pipe()
	r.b, b = net.Pipe()
	r.run(a, b)
	r.a.Close()
	if err := <-r.upEnd; err != nil {
		t.Error(err)
	}
	if _, err := r.b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the other end sees %v", err)
	}
	if err := <-r.downEnd; err == nil {
		t.Error("no error from a closed connection")
	}
}

// The first byte is counted when it has been written, not when more has arrived.
func TestRelayCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := piped()
		r.b.Write([]byte{1})
		r.a.Read(make([]byte, 1))
		synctest.Wait()
		if n := r.down.Load(); n != 1 {
			t.Errorf("counted %d", n)
		}
		r.close()
		<-r.upEnd
		<-r.downEnd
	})
}

// Without data in either direction the relay times out.
func TestRelayIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := piped()
		r.a.Write([]byte{1})
		r.b.Read(make([]byte, 1))
		began := time.Now()
		select {
		case err := <-r.upEnd:
			wantTimeout(t, err)
		case err := <-r.downEnd:
			wantTimeout(t, err)
		}
		if took := time.Since(began); took < idle || took > 3*idle {
			t.Errorf("timed out after %v", took)
		}
		r.close()
	})
}

func wantTimeout(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
}

// One direction may stay silent as long as the other does not.
func TestRelayOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := piped()
		for range 20 {
			time.Sleep(37 * time.Second) // never at the same time as a deadline
			if _, err := r.b.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.a.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.upEnd)+len(r.downEnd) > 0 {
			t.Error("the relay timed out")
		}
		r.close()
	})
}

// A byte in one direction keeps both alive, even if the other's deadline is due while the first
// still waits for more.
func TestRelayByteInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := piped()
		defer r.close()
		go io.Copy(io.Discard, r.a)
		go io.Copy(io.Discard, r.b)
		began := time.Now()
		for _, c := range []struct {
			after time.Duration // percentage of idle
			from  net.Conn
		}{{0, r.a}, {10, r.b}, {105, r.a}, {200, r.a}} {
			time.Sleep(time.Until(began.Add(c.after * idle / 100)))
			c.from.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := c.from.Write([]byte{1}); err != nil {
				t.Fatalf("at %d %%: %v", c.after, err)
			}
			synctest.Wait()
			if len(r.upEnd)+len(r.downEnd) > 0 {
				t.Fatalf("the relay timed out by %d %%", c.after)
			}
		}
	})
}

// If one side has half-closed and the other is silent, the relay times out.
func TestRelayIdleAfterHalfClose(t *testing.T) {
	for _, says := range []string{"", "1", "1234"} {
		synctest.Test(t, func(t *testing.T) {
			r := piped()
			go io.Copy(io.Discard, r.b)
			r.a.Write([]byte(says))
			synctest.Wait()
			r.a.Write([]byte(says)) // in the same step as the end
			r.a.Close()
			if err := <-r.upEnd; err != nil {
				t.Error(err)
			}
			select {
			case err := <-r.downEnd:
				wantTimeout(t, err)
			case <-time.After(10 * idle):
				t.Errorf("after %q and the end, the relay does not time out", says)
			}
			r.close()
		})
	}
}

// A reader that stalls for too long ends the relay, which must not continue with a gap in the
// stream.
func TestRelayStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := piped()
		says := noise(1 << 20)
		go r.b.Write(says)
		quit := make(chan struct{})
		go io.Copy(io.Discard, r.b) // the other direction is always busy
		go func() {
			for {
				select {
				case <-quit:
					return
				case <-time.After(idle / 4):
					r.a.Write([]byte{1})
				}
			}
		}()

		got := make([]byte, 100)
		io.ReadFull(r.a, got)
		time.Sleep(5 * idle / 2) // no reads
		r.a.SetReadDeadline(time.Now().Add(idle))
		rest, _ := io.ReadAll(r.a)
		got = append(got, rest...)
		if !bytes.HasPrefix(says, got) {
			same := 0
			for same < len(got) && got[same] == says[same] {
				same++
			}
			t.Errorf("the reader got %d bytes, which differ from byte %d on", len(got), same)
		}
		select {
		case err := <-r.downEnd:
			wantTimeout(t, err)
		default:
			t.Error("the relay did not end")
		}
		close(quit)
		r.close()
	})
}

// Interrupting both sockets ends both directions; data that was read has been written.
func TestRelayInterrupt(t *testing.T) {
	for _, before := range []bool{false, true} {
		r := overTCP(t)
		says := noise(64 << 10)
		r.a.Write(says)
		got := make([]byte, len(says))
		if _, err := io.ReadFull(r.b, got); err != nil || !bytes.Equal(got, says) {
			t.Fatal(err)
		}
		if before { // while data is in flight
			go r.a.Write(says)
		}
		for _, s := range r.sockets {
			s.Interrupt()
		}
		wantTimeout(t, <-r.upEnd)
		wantTimeout(t, <-r.downEnd)
		// Later calls fail, too.
		wantTimeout(t, r.AToB(&r.up))
		wantTimeout(t, r.BToA(&r.down, func() {}))
		// Counted bytes have been written.
		r.bIn.Close()
		rest, _ := io.ReadAll(r.b)
		if n := uint64(len(got) + len(rest)); n != r.up.Load() || !bytes.HasPrefix(says, rest) {
			t.Errorf("%d bytes arrived, %d counted", n, r.up.Load())
		}
	}
}

// If a side is gone, the direction to it ends with an error other than a timeout.
func TestRelayBrokenWrite(t *testing.T) {
	r := overTCP(t)
	r.b.(*net.TCPConn).SetLinger(0)
	r.b.Close()
	if err := <-r.downEnd; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("from the side that reset: %v", err)
	}
	go func() { // until the test ends: nothing reads what comes after the relay's end
		for {
			if _, err := r.a.Write(noise(1000)); err != nil {
				return
			}
		}
	}()
	if err := <-r.upEnd; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("to the side that reset: %v", err)
	}
}

// The callback for the first byte read is called even if that cannot be written.
func TestRelayTellsOfWhatItRead(t *testing.T) {
	a, _ := net.Pipe()
	b, far := net.Pipe()
	r := NewRelay(NewSocket(a), NewSocket(b), idle)
	a.Close() // accepts no writes
	go far.Write([]byte("lost"))
	called := false
	var n atomic.Uint64
	if err := r.BToA(&n, func() { called = true }); err == nil || !called || n.Load() != 0 {
		t.Errorf("called: %v; %d bytes, %v", called, n.Load(), err)
	}
	far.Close()
}
