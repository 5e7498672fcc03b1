package transport

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// halfPipe is an end of a connection whose directions end apart, as with TCP. Its writes do not
// block, but can be cut off, as by a deadline.
type halfPipe struct {
	net.Conn // to read from
	to       chan []byte

	mu     sync.Mutex
	cuts   *rand.Rand // nil: none
	writes []int      // their sizes
	ended  bool
	late   int // writes after the end
}

// halfPipes returns both ends.
func halfPipes() (a, b *halfPipe) {
	end := func() (*halfPipe, net.Conn) {
		near, far := net.Pipe()
		return &halfPipe{Conn: near, to: make(chan []byte, 1<<16)}, far
	}
	relay := func(from *halfPipe, to net.Conn) {
		for b := range from.to {
			to.Write(b)
		}
		to.Close()
	}
	a, toA := end()
	b, toB := end()
	go relay(a, toB)
	go relay(b, toA)
	return a, b
}

func (h *halfPipe) SetWriteDeadline(time.Time) error { return nil }
func (h *halfPipe) Close() error                     { h.CloseWrite(); return h.Conn.Close() }

func (h *halfPipe) CloseWrite() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.ended = true
		close(h.to)
	}
	return nil
}

func (h *halfPipe) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = append(h.writes, len(p))
	if h.ended {
		h.late++
		return 0, io.ErrClosedPipe
	}
	n := len(p)
	if h.cuts != nil && h.cuts.IntN(4) == 0 {
		n = h.cuts.IntN(n + 1)
	}
	if n > 0 {
		h.to <- bytes.Clone(p[:n])
	}
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

// handshakeDone forgets the writes so far.
func (h *halfPipe) handshakeDone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = nil
}

// cutWith begins to cut writes off.
func (h *halfPipe) cutWith(r *rand.Rand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cuts = r
}

// randomShape returns any shape.
func randomShape(r *rand.Rand) Shape {
	s := Shape{
		Mode:   []ShapeMode{ShapeOff, ShapeCore, ShapePad, ShapeCover, ShapeCover, ShapeTunnel, ShapeTunnel, ShapeTunnel}[r.IntN(8)],
		Bucket: minBucket << r.IntN(7),
		Cell:   minCell + r.IntN(maxCell-minCell+1),
		Every:  minEvery + upTo(r, 5*time.Second),
		Burst:  minBurst + r.IntN(maxBurst-minBurst+1),
		Fakes:  minFakes + upTo(r, time.Minute),
	}
	if r.IntN(3) == 0 {
		s.Budget = minBudget
	}
	if r.IntN(3) == 0 {
		s.Cell = minCell + r.IntN(30)
	}
	return s
}

// randomSize returns the size of a message.
func randomSize(r *rand.Rand) int {
	switch r.IntN(40) {
	case 0:
		return r.IntN(MaxContents + 1)
	case 1, 2:
		return r.IntN(300_000)
	case 3, 4, 5:
		return r.IntN(30_000)
	case 6: // at the edge of a bucket
		return 16<<10 - Headroom - Tailroom - 22 + r.IntN(44)
	}
	return r.IntN(1200)
}

// message is a message at random.
type message struct {
	seed uint64
	size int
}

func (m message) contents() []byte { return testBytes(m.size, m.seed) }

// talker writes messages at random and keeps those that it was told are sent.
type talker struct {
	r    *rand.Rand
	c    *Conn
	sent []message
}

// talk writes up to 150 times, and then ends the direction. It sets deadlines, and waits for a day,
// if it may.
func (w *talker) talk(t *testing.T, deadlines, days bool) {
	r, c := w.r, w.c
	for range 30 + r.IntN(120) {
		time.Sleep(upTo(r, 20*time.Second) / time.Duration(1+r.IntN(100)))
		if days && r.IntN(200) == 0 {
			time.Sleep(day + time.Hour)
		}
		if deadlines && r.IntN(3) == 0 {
			c.SetWriteDeadline(time.Now().Add(upTo(r, 4*time.Second) - time.Second))
		} else if deadlines && r.IntN(2) == 0 {
			c.SetWriteDeadline(time.Time{})
		}
		m := message{r.Uint64(), randomSize(r)}
		real, err := w.write(m)
		_, pending := errors.AsType[*PendingError](err)
		switch {
		case real && (err == nil || pending):
			w.sent = append(w.sent, m)
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			t.Errorf("%d bytes: %v", m.size, err)
		}
	}
	for err := c.CloseWrite(); err != nil; err = c.CloseWrite() {
		if _, pending := errors.AsType[*PendingError](err); !pending {
			t.Errorf("CloseWrite: %v", err)
			return
		}
		c.SetWriteDeadline(time.Now().Add(upTo(r, 20*time.Second)))
	}
}

// write writes m in any way, unless it does something else.
func (w *talker) write(m message) (real bool, err error) {
	p := m.contents()
	switch w.r.IntN(6) {
	case 0, 1:
		return true, w.c.WritePacket(p)
	case 2:
		return true, w.c.Queue(p[:m.size/3], p[m.size/3:])
	case 3:
		return true, w.c.WriteInPlace(append(append(make([]byte, Headroom), p...), make([]byte, Tailroom)...))
	case 4:
		return false, w.c.WriteDecoy(p)
	}
	return false, w.c.Flush()
}

func upTo(r *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit)))
}

// listen reads until the end, at random times, and returns what it has received.
func listen(t *testing.T, r *rand.Rand, c *Conn, deadlines bool) (received [][]byte) {
	for {
		if r.IntN(10) == 0 {
			time.Sleep(upTo(r, 30*time.Second))
		}
		if deadlines && r.IntN(4) == 0 {
			c.SetReadDeadline(time.Now().Add(upTo(r, time.Minute)))
		}
		p, err := c.ReadPacket()
		switch {
		case err == nil:
			received = append(received, bytes.Clone(p))
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.SetReadDeadline(time.Time{})
		case err == io.EOF:
			return received
		default:
			t.Errorf("read: %v", err)
			return received
		}
	}
}

// Whatever both ends write, at any time, in any mode and whatever deadlines cut, exactly what the
// writer was told is sent arrives, in order; writes have the sizes of the mode, and none follows the
// end.
func TestShapeModel(t *testing.T) {
	seeds := uint64(20)
	if os.Getenv("LONG") != "" {
		seeds = 2000
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { shapeModel(t, seed) })
	}
}

func shapeModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	shapes := []Shape{randomShape(r), randomShape(r)}
	cuts := r.IntN(3) > 0
	days := min(shapes[0].Every, shapes[1].Every) > time.Second
	t.Logf("%v, %v, cuts: %v", shapes[0], shapes[1], cuts)
	near, far := halfPipes()
	a, b := connPair(t, near, far, Config{Magic: mainnet, Shape: shapes[0]}, Config{Magic: mainnet, Shape: shapes[1]})
	pipes, ends := []*halfPipe{near, far}, []*Conn{a, b}
	var talkers [2]talker
	var got [2][][]byte
	var all sync.WaitGroup
	for i, c := range ends {
		pipes[i].handshakeDone()
		if cuts {
			c.SetWriteDeadline(time.Now().Add(1000 * time.Hour)) // from now on, what is cut off is kept
			pipes[i].cutWith(rand.New(rand.NewPCG(seed, uint64(1+i))))
		}
		talkers[i] = talker{r: rand.New(rand.NewPCG(seed, uint64(3+i))), c: c}
		all.Go(func() { talkers[i].talk(t, cuts, days) })
		all.Go(func() { got[i] = listen(t, rand.New(rand.NewPCG(seed, uint64(5+i))), c, cuts) })
	}
	all.Wait()
	for i, w := range talkers {
		if len(got[1-i]) != len(w.sent) {
			t.Errorf("%v: %d messages arrive of %d", shapes[i], len(got[1-i]), len(w.sent))
		}
		for k, p := range got[1-i][:min(len(got[1-i]), len(w.sent))] {
			if !bytes.Equal(p, w.sent[k].contents()) {
				t.Fatalf("%v: message %d arrives as %d bytes, want %d", shapes[i], k, len(p), w.sent[k].size)
			}
		}
	}
	for _, c := range ends {
		c.Close()
		c.Wipe()
	}
	time.Sleep(2 * day)
	for i, h := range pipes {
		if h.late > 0 {
			t.Errorf("%v: %d writes after the end", shapes[i], h.late)
		}
		if h.cuts == nil && (i == 0 || shapes[i].Mode != ShapeTunnel) { // a responder has no tunnel at first
			checkSizes(t, h.writes, shapes[i].WithDefaults())
		}
	}
}

// checkSizes checks that writes are cells, or filled up.
func checkSizes(t *testing.T, writes []int, s Shape) {
	if s.Mode == ShapeOff || s.Mode == ShapeCore {
		return
	}
	for i, n := range writes {
		cell := n == s.Cell && s.Mode != ShapePad
		if !cell && n%(16<<10) != 0 && (bits.OnesCount(uint(n)) != 1 || n < s.Bucket) {
			t.Errorf("%v: write %d of %d has %d bytes", s, i, len(writes), n)
		}
	}
}

// A responder that has ended its direction answers no offer: nothing is sent after that.
func TestTunnelOfferAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told changes
		near, far := halfPipes()
		a, b := connPair(t, near, far, Config{Magic: mainnet, Shape: Shape{Mode: ShapeTunnel}},
			Config{Magic: mainnet, Shape: Shape{Mode: ShapeTunnel, Changed: told.add}})
		readAll(a)
		if err := b.CloseWrite(); err != nil {
			t.Error(err)
		}
		readAll(b) // the offer
		time.Sleep(time.Hour)
		told.check(t)
		if mode := b.Shaping().Mode; far.late > 0 || mode != ShapeOff {
			t.Errorf("%d writes after the end, and the mode is %v", far.late, mode)
		}
	})
}
