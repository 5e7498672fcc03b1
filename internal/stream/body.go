package stream

import (
	"io"
	"sync"
)

// step is how far memory may run ahead of the bytes that have arrived: a
// promised length alone never costs more than this many bytes.
const step = 256 << 10

// smallBody is the capacity of the buffers for bodies that just do not fit
// into a Reader.
const smallBody = 32 << 10

// Body is a message too large for the Reader's buffer, in memory that comes
// from a pool. Release gives it back.
type Body struct {
	// Bytes is the spare head, the bytes read, and the spare tail.
	Bytes []byte
	buf   []byte
}

// pools holds free buffers: of smallBody, then of 1, 2, 3 … 16 steps.
var pools [17]sync.Pool

// newBody returns a body of n bytes.
func newBody(n int) *Body {
	class, size := 0, smallBody
	if n > smallBody {
		class = (n + step - 1) / step
		size = class * step
	}
	if class >= len(pools) {
		b := make([]byte, n)
		return &Body{Bytes: b, buf: b}
	}
	b, _ := pools[class].Get().(*Body)
	if b == nil {
		b = &Body{buf: make([]byte, size)}
	}
	b.Bytes = b.buf[:n]
	return b
}

// Release returns the body's memory to the pool. A nil body is allowed.
func (b *Body) Release() {
	if b == nil {
		return
	}
	b.Bytes = nil
	switch class := len(b.buf) / step; {
	case len(b.buf) == smallBody:
		pools[0].Put(b)
	case class < len(pools) && len(b.buf) == class*step:
		pools[class].Put(b)
	}
}

// ReadBody reads n bytes into a body that has head spare bytes before them and
// tail after them. While it waits it holds no more than what has arrived plus
// 256 KiB; large bodies are gathered in steps and joined when they are whole.
// A stream that ends within the body gives io.ErrUnexpectedEOF.
func (r *Reader) ReadBody(head, n, tail int) (*Body, error) {
	if head+n+tail <= step {
		b := newBody(head + n + tail)
		if err := r.readFull(b.Bytes[head : head+n]); err != nil {
			b.Release()
			return nil, err
		}
		return b, nil
	}

	var room [len(pools)]*Body // all of Bitcoin's largest message, off the heap
	parts := room[:0]
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	for left := n; left > 0; {
		p := newBody(min(left, step))
		parts = append(parts, p)
		if err := r.readFull(p.Bytes); err != nil {
			return nil, err
		}
		left -= len(p.Bytes)
	}
	b := newBody(head + n + tail)
	at := head
	for _, p := range parts {
		at += copy(b.Bytes[at:], p.Bytes)
	}
	return b, nil
}

func (r *Reader) readFull(p []byte) error {
	_, err := io.ReadFull(r.Reader, p)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
