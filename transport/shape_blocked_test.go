package transport

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/stream"
)

// shapedTo returns the initiator of a connection on nc, after the handshake.
func shapedTo(t testing.TB, nc net.Conn, shape Shape) *Conn {
	s, _, _, _ := ciphers(t)
	socket := stream.NewSocket(nc)
	c := &Conn{socket: socket, out: sending{w: stream.NewWriter(socket), ciphers: s}}
	c.startShape(&Handshake{cfg: Config{Shape: shape}, initiator: true})
	return c
}

// tickNow makes a tick of c due, and returns after it.
func tickNow(c *Conn) {
	c.out.mu.Lock()
	c.out.shaper.cells.next = time.Time{}
	c.out.mu.Unlock()
	c.out.shaper.tick()
}

// blockedPair returns a connection with cells whose other end does not read until it is told to.
func blockedPair(t *testing.T, cfg Config) (a, b *Conn, up *writesRecorder) {
	t.Helper()
	near, far := net.Pipe()
	up = &writesRecorder{Conn: near, began: time.Now()}
	cfg.Magic, cfg.Shape = mainnet, Shape{Mode: ShapeCover}
	a, b = connPair(t, up, far, cfg, Config{Magic: mainnet})
	return a, b, up
}

// While the other end does not read, one cell waits; the others are not caught up with.
func TestCellsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, up := blockedPair(t, Config{WriteTimeout: 10 * time.Hour})
		before := up.number()
		if err := a.Queue([]byte("message")); err != nil { // before the cells
			t.Error(err)
		}
		time.Sleep(5 * time.Hour)
		if n := up.number() - before; n != 1 {
			t.Errorf("%d writes wait", n)
		}
		from := time.Since(up.began)
		go func() {
			if got, err := b.ReadPacket(); err != nil || string(got) != "message" {
				t.Errorf("got %q, %v", got, err)
			}
			b.ReadPacket()
		}()
		time.Sleep(time.Hour)
		cells := up.since(from + 1)
		if n := len(cells); n < 1700 || n > 1900 {
			t.Errorf("%d cells in the hour after", n)
		}
		last := from
		for _, c := range cells {
			if gap := c.at - last; c.size != defaultCell || gap < coverEvery/2 || gap > coverEvery*3/2 {
				t.Errorf("a write of %d bytes after %v", c.size, gap)
			}
			last = c.at
		}
	})
}

// WriteTimeout ends a connection whose other end does not take a cell.
func TestCellsStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up := blockedPair(t, Config{WriteTimeout: time.Minute})
		time.Sleep(startsAfter + time.Minute + time.Second)
		n := up.number()
		for name, err := range map[string]error{"WritePacket": a.WritePacket(nil), "Queue": a.Queue(nil), "Flush": a.Flush(),
			"WriteInPlace": a.WriteInPlace(make([]byte, Headroom+Tailroom)), "CloseWrite": a.CloseWrite()} {
			if err != ErrStalled {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(time.Hour)
		if more := up.number() - n; more > 0 {
			t.Errorf("then %d writes", more)
		}
	})
}

// Close ends a cell that waits for the other end, and then Wipe does not wait.
func TestCellsClosedWhileBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up := blockedPair(t, Config{})
		if err := a.Queue([]byte("before the cells")); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		a.Wipe()
		n := up.number()
		time.Sleep(time.Hour)
		if more := up.number() - n; more > 0 {
			t.Errorf("then %d writes", more)
		}
		for name, err := range map[string]error{"WritePacket": a.WritePacket(nil), "Queue": a.Queue(nil), "Flush": a.Flush(), "CloseWrite": a.CloseWrite()} {
			if err == nil || isTimeout(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Close drops the backlog, and later calls say so.
func TestCellsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up, _ := cellsBegun(t)
		if err := a.WritePacket(make([]byte, 5000)); err != nil {
			t.Error(err)
		}
		a.Close()
		n := up.number()
		for name, err := range map[string]error{"WritePacket": a.WritePacket(nil), "Queue": a.Queue(nil), "Flush": a.Flush(),
			"WriteInPlace": a.WriteInPlace(make([]byte, 100)), "CloseWrite": a.CloseWrite()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(time.Hour)
		if more := up.number() - n; more > 0 {
			t.Errorf("then %d writes", more)
		}
	})
}

// Cells leave whether or not the user's last write deadline has passed; calls that the user makes then
// fail, and nothing of theirs is sent.
func TestCellsAfterDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up, received := cellsBegun(t)
		sent := [][]byte{testBytes(5000, 1), testBytes(10, 2)}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if err := a.WritePacket(sent[0]); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute)
		var pending *PendingError
		for name, err := range map[string]error{"WritePacket": a.WritePacket([]byte("late")), "Queue": a.Queue([]byte("late")),
			"WriteInPlace": a.WriteInPlace(make([]byte, 100)), "a large one": a.WritePacket(make([]byte, 100_000))} {
			if !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &pending) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := a.Flush(); err != nil { // for nothing waits
			t.Error(err)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if err := a.WritePacket(sent[1]); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute)
		expect(t, received, sent)
		if n := len(up.since(startsAfter)); n < 550 || n > 650 {
			t.Errorf("%d cells in twenty minutes", n)
		}
		up.sizesIn(t, startsAfter, defaultCell)
	})
}

// beginsConn closes begun when a write begins.
type beginsConn struct {
	net.Conn
	begun chan struct{}
}

func (c *beginsConn) Write(p []byte) (int, error) {
	if c.begun != nil {
		close(c.begun)
		c.begun = nil
	}
	return c.Conn.Write(p)
}

// A call whose deadline passes does not wait for a cell that the other end does not take, of which
// nothing is lost.
func TestDeadlineWhileCellBlocked(t *testing.T) {
	for _, before := range []bool{true, false} { // the deadline is set before the call, or during it
		near, far := net.Pipe()
		begun := make(chan struct{})
		a := shapedTo(t, &beginsConn{near, begun}, Shape{Mode: ShapeCover})
		_, _, _, o := ciphers(t)
		b := receiverOf(far, o)
		if err := a.Queue([]byte("first")); err != nil {
			t.Fatal(err)
		}
		go tickNow(a)
		<-begun
		set := func() { a.SetWriteDeadline(time.Now().Add(-1)) }
		if before {
			set()
		}
		failed := make(chan error)
		go func() { failed <- a.WritePacket([]byte("not sent")) }()
		if !before {
			set()
		}
		var pending *PendingError
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &pending) {
			t.Errorf("got %v", err)
		}
		a.SetWriteDeadline(time.Time{})
		go func() {
			tickNow(a)
			if err := a.WritePacket([]byte("second")); err != nil {
				t.Error(err)
			}
			tickNow(a)
		}()
		for _, want := range []string{"first", "second"} {
			if got, err := b.ReadPacket(); err != nil || string(got) != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		a.Close()
	}
}

// What a deadline has left of a cell leaves in the turn of the next one.
func TestCellsRest(t *testing.T) {
	conn := &fitsConn{}
	up := &writesRecorder{Conn: conn, began: time.Now()}
	c := shapedTo(t, up, Shape{Mode: ShapeCover, Every: maxEvery})
	defer c.out.stop()
	c.SetWriteDeadline(time.Now().Add(time.Hour))
	for i, test := range []struct{ fits, want int }{{-1, 1024}, {1000, 1024}, {20, 24}, {-1, 4}, {-1, 1024}} {
		conn.fits = test.fits
		tickNow(c)
		writes := up.since(0)
		if got := writes[len(writes)-1].size; got != test.want || len(writes) != i+1 {
			t.Errorf("%+v: %d writes, the last of %d bytes", test, len(writes), got)
		}
	}
}

// Wherever deadlines cut the writes of ticks and calls, the calls say truthfully what arrives, and it
// arrives unaltered and in order.
func TestCellsGoOn(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 0))
		conn := &fitsConn{fits: -1}
		c := shapedTo(t, conn, Shape{Mode: ShapeCover, Cell: minCell + r.IntN(2000), Every: maxEvery})
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		var want [][]byte
		for range 200 {
			if conn.fits = -1; r.IntN(3) == 0 {
				conn.fits = r.IntN(3000)
			}
			p := testBytes(r.IntN(1500), r.Uint64())
			if r.IntN(20) == 0 {
				p = testBytes(r.IntN(200_000), r.Uint64())
			}
			var err error
			switch r.IntN(5) {
			case 0:
				err = c.WritePacket(p)
			case 1:
				err = c.Queue(p)
			case 2:
				err = c.WriteInPlace(append(append(make([]byte, Headroom), p...), make([]byte, Tailroom)...))
			case 3:
				c.Flush()
				continue
			default:
				tickNow(c)
				continue
			}
			var pending *PendingError
			switch {
			case err == nil || errors.As(err, &pending) && errors.Is(err, os.ErrDeadlineExceeded):
				want = append(want, p)
			case !errors.Is(err, os.ErrDeadlineExceeded):
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		conn.fits = -1
		c.out.hurry()
		if err := c.out.drain(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		c.out.stop()
		_, _, _, o := ciphers(t)
		b := receiverOf(&conn.sent, o)
		for i, want := range want {
			if got, err := b.ReadPacket(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("seed %d: packet %d of %d bytes: got %d, %v", seed, i, len(want), len(got), err)
			}
		}
		if got, err := b.ReadPacket(); err != io.EOF {
			t.Fatalf("seed %d: then %d bytes, %v", seed, len(got), err)
		}
	}
}
