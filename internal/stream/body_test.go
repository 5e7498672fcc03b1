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
)

// readerConn is a socket with nothing but an incoming stream.
type readerConn struct {
	net.Conn
	io.Reader
}

func (c readerConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func readerOf(in io.Reader) *Reader { return NewReader(readerConn{Reader: in}) }

// pattern returns n bytes, none of them zero, that are the same in every run.
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
	for _, border := range []int{bufferSize, smallBody, step, 2 * step, 3 * step, 16 * step, 17 * step} {
		sizes = append(sizes, border-1, border, border+1)
	}
	return sizes
}()

// A body has the bytes read, between head and tail, whatever its size and
// however the stream comes, and leaves what follows it.
func TestBody(t *testing.T) {
	source := pattern(17*step + 1)
	for _, slow := range []bool{false, true} {
		for _, ends := range [][2]int{{0, 0}, {4, 16}, {24, 0}} {
			for _, n := range bodySizes {
				if slow && n > 2*step+1 {
					continue
				}
				head, tail := ends[0], ends[1]
				for _, n := range []int{n, n - head - tail} { // the border with or without them
					if n < 0 {
						continue
					}
					in := io.MultiReader(bytes.NewReader(source[:n]), bytes.NewReader([]byte("next")))
					if slow {
						in = iotest.OneByteReader(in)
					}
					r := readerOf(in)
					b, err := r.ReadBody(head, n, tail)
					if err != nil || len(b.Bytes) != head+n+tail || !bytes.Equal(b.Bytes[head:head+n], source[:n]) {
						t.Fatalf("%d+%d+%d bytes: %v", head, n, tail, err)
					}
					if next, err := io.ReadAll(r); string(next) != "next" || err != nil {
						t.Fatalf("%d+%d+%d bytes: left %q, %v", head, n, tail, next, err)
					}
					b.Release()
				}
			}
		}
	}
}

// A stream that ends or fails within a body.
func TestBodyCut(t *testing.T) {
	source := pattern(17*step + 1)
	broken := errors.New("broken")
	for _, n := range bodySizes[1:] {
		for _, have := range []int{0, min(1, n-1), n / 2, n - 1, min(n-1, step), min(n-1, step-1)} {
			if b, err := readerOf(bytes.NewReader(source[:have])).ReadBody(3, n, 5); b != nil || err != io.ErrUnexpectedEOF {
				t.Errorf("%d of %d bytes: %v", have, n, err)
			}
			in := io.MultiReader(bytes.NewReader(source[:have]), iotest.ErrReader(broken))
			if b, err := readerOf(in).ReadBody(3, n, 5); b != nil || err != broken {
				t.Errorf("%d of %d bytes, then a failure: %v", have, n, err)
			}
		}
	}
}

// A body from the pool has its own length, not that of its memory's last user,
// and two bodies never share memory.
func TestBodyReuse(t *testing.T) {
	source := pattern(5 * step)
	var held []*Body
	var want [][]byte
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		if len(held) > 5 || len(held) > 0 && rng.IntN(2) == 0 {
			i := rng.IntN(len(held))
			if !bytes.Equal(held[i].Bytes, want[i]) {
				t.Fatal("a body has changed in its holder's hands")
			}
			held[i].Release()
			held, want = append(held[:i], held[i+1:]...), append(want[:i], want[i+1:]...)
			continue
		}
		n := rng.IntN(smallBody * 2)
		if rng.IntN(5) == 0 {
			n = rng.IntN(4 * step)
		}
		from := rng.IntN(step)
		b, err := readerOf(bytes.NewReader(source[from:])).ReadBody(0, n, 0)
		if err != nil || len(b.Bytes) != n {
			t.Fatalf("%d bytes: %v", n, err)
		}
		held, want = append(held, b), append(want, source[from:from+n])
	}
}

func TestReleaseForgets(t *testing.T) {
	var none *Body
	none.Release()
	b, err := readerOf(bytes.NewReader(pattern(100))).ReadBody(0, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	if b.Bytes != nil {
		t.Error("a released body still shows its bytes")
	}
}

// While a body is on its way it holds what has arrived and 256 KiB, no more.
func TestBodyMemory(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the first one only moves the pools aside
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 15 * step
	source := pattern(n)
	before := heap()
	arrived := 0
	in := readFunc(func(p []byte) (int, error) {
		if arrived%(64<<10) == 0 {
			if held := int(heap()) - int(before); held > arrived+step+(128<<10) {
				t.Errorf("%d bytes held when %d have arrived", held, arrived)
			}
		}
		k := copy(p[:min(len(p), 16<<10)], source[arrived:])
		arrived += k
		return k, nil
	})
	b, err := readerOf(in).ReadBody(0, n, 0)
	if err != nil || !bytes.Equal(b.Bytes, source) {
		t.Fatal(err)
	}
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
