package stream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// readerConn is a socket with only an incoming stream.
type readerConn struct {
	net.Conn
	io.Reader
}

func (c readerConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func readerOf(in io.Reader) *Reader { return NewReader(readerConn{Reader: in}) }

// pattern returns n nonzero bytes that are the same in every run.
func pattern(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	for i := range b {
		b[i] |= 1
	}
	return b
}

var bodySizes = func() []int {
	sizes := []int{0, 1, 2}
	for _, border := range []int{pageSize, bufferSize, step, 2 * step, 3 * step, 16 * step, 17 * step} {
		sizes = append(sizes, border-1, border, border+1)
	}
	return sizes
}()

// memories are the sources of a body's memory.
func memories() map[string]*Memory {
	return map[string]*Memory{"heap": nil, "budget": NewMemory(32 << 20)}
}

// A body has the bytes read, between head and tail, for any size and any division of the stream;
// all of them are passed to the sum, and what follows stays unread.
func TestBody(t *testing.T) {
	source := pattern(17*step + 1)
	for where, memory := range memories() {
		for _, slow := range []bool{false, true} {
			for _, ends := range [][2]int{{0, 0}, {4, 16}, {24, 0}} {
				for _, n := range bodySizes {
					if slow && n > 2*step+1 {
						continue
					}
					head, tail := ends[0], ends[1]
					for _, n := range []int{n, n - head - tail} { // the threshold with or without them
						if n < 0 {
							continue
						}
						in := io.MultiReader(bytes.NewReader(source[:n]), bytes.NewReader([]byte("next")))
						if slow {
							in = iotest.OneByteReader(in)
						}
						r := readerOf(in)
						r.SetMemory(memory)
						var b Body
						var sum bytes.Buffer
						err := r.ReadBody(&b, head, n, tail, &sum)
						if err != nil || len(b.Bytes) != head+n+tail || !bytes.Equal(b.Bytes[head:head+n], source[:n]) {
							t.Fatalf("%s: %d+%d+%d bytes: %v", where, head, n, tail, err)
						}
						if !bytes.Equal(sum.Bytes(), source[:n]) {
							t.Fatalf("%s: %d+%d+%d bytes: the sum got other bytes", where, head, n, tail)
						}
						if next, err := io.ReadAll(r); string(next) != "next" || err != nil {
							t.Fatalf("%s: %d+%d+%d bytes: left %q, %v", where, head, n, tail, next, err)
						}
						b.Release()
					}
				}
			}
		}
		requireUnused(t, memory)
	}
}

// requireUnused checks that all of m, which may be nil, has been returned.
func requireUnused(t *testing.T, m *Memory) {
	t.Helper()
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.arena != nil && !m.unused() || len(m.waiting) > 0 {
		t.Errorf("free: %v, waiting: %d", m.free, len(m.waiting))
	}
}

// If the stream ends or fails within a body, no memory stays in use.
func TestBodyCut(t *testing.T) {
	source := pattern(17*step + 1)
	broken := errors.New("broken")
	for where, memory := range memories() {
		for _, n := range bodySizes[1:] {
			for _, have := range []int{0, min(1, n-1), n / 2, n - 1, min(n-1, step), min(n-1, step-1)} {
				for end, in := range map[error]io.Reader{
					io.ErrUnexpectedEOF: bytes.NewReader(source[:have]),
					broken:              io.MultiReader(bytes.NewReader(source[:have]), iotest.ErrReader(broken)),
				} {
					r := readerOf(in)
					r.SetMemory(memory)
					var b Body
					if err := r.ReadBody(&b, 3, n, 5, nil); b.Bytes != nil || err != end {
						t.Errorf("%s: %d of %d bytes: got %v, want %v", where, have, n, err, end)
					}
				}
			}
		}
		requireUnused(t, memory)
	}
}

// Two bodies never share memory.
func TestBodiesAreApart(t *testing.T) {
	source := pattern(5 * step)
	for where, memory := range memories() {
		var held []*Body
		var want [][]byte
		rng := rand.New(rand.NewPCG(1, 1))
		for range 2000 {
			if len(held) > 5 || len(held) > 0 && rng.IntN(2) == 0 {
				i := rng.IntN(len(held))
				if !bytes.Equal(held[i].Bytes, want[i]) {
					t.Fatalf("%s: a body changed while in use", where)
				}
				held[i].Release()
				held, want = append(held[:i], held[i+1:]...), append(want[:i], want[i+1:]...)
				continue
			}
			n := rng.IntN(2 * bufferSize)
			if rng.IntN(5) == 0 {
				n = rng.IntN(4 * step)
			}
			from := rng.IntN(step)
			r := readerOf(bytes.NewReader(source[from:]))
			r.SetMemory(memory)
			b := new(Body)
			if err := r.ReadBody(b, 0, n, 0, nil); err != nil || len(b.Bytes) != n {
				t.Fatalf("%s: %d bytes: %v", where, n, err)
			}
			held, want = append(held, b), append(want, source[from:from+n])
		}
		for _, b := range held {
			b.Release()
			b.Release() // a second call has no effect
			if b.Bytes != nil {
				t.Error("a released body still shows its bytes")
			}
		}
		requireUnused(t, memory)
	}
}

// A body on the heap takes 256 KiB until that many bytes have arrived.
func TestBodyMemory(t *testing.T) {
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	const n = 15 * step
	source := pattern(n)
	before := heap()
	arrived := 0
	in := readFunc(func(p []byte) (int, error) {
		if arrived < step && arrived%(64<<10) == 0 {
			if held := heap() - before; held > step+(128<<10) {
				t.Errorf("%d bytes held when %d have arrived", held, arrived)
			}
		}
		k := copy(p[:min(len(p), 16<<10)], source[arrived:])
		arrived += k
		return k, nil
	})
	var b Body
	if err := readerOf(in).ReadBody(&b, 0, n, 0, nil); err != nil || !bytes.Equal(b.Bytes, source) {
		t.Fatal(err)
	}
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// A body that trickles in ends its stream after BodyTimeout, for any time between two bytes.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		r := NewReader(b)
		r.SetIdle(3 * BodyTimeout)
		go func() {
			for {
				time.Sleep(time.Second)
				if _, err := a.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		begin := time.Now()
		var body Body
		if err := r.ReadBody(&body, 0, 1<<20, 0, nil); err != ErrSlow || time.Since(begin) != BodyTimeout {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		if _, err := readByte(r); err != nil { // and not for later bytes
			t.Error(err)
		}
		b.Close()
		time.Sleep(2 * time.Second) // so that the sender sees it
	})
}
