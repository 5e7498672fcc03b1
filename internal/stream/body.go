package stream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// step is how much of a body is read at a time, in bytes, and how much of it must have
	// arrived before memory for the rest is allocated on the heap.
	step = 256 << 10

	// wakeAt is how much of a body must have arrived to wake its reader, in bytes: every
	// receive buffer has room for so much.
	wakeAt = 32 << 10

	// BodyTimeout limits the arrival of a body, and sending it: meanwhile others may wait
	// for its memory. It is as long as Bitcoin Core waits for a block.
	BodyTimeout = 10 * time.Minute
)

// ErrSlow means that a body took longer than BodyTimeout to arrive.
var ErrSlow = fmt.Errorf("a message took more than %v to arrive", BodyTimeout)

// Body is a message too large for the Reader's buffer. The zero Body holds none.
type Body struct {
	// Bytes is the spare head, the bytes read and the spare tail.
	Bytes  []byte
	memory *Memory // nil: the heap
}

// Release frees the body, if it holds one. Its bytes must not be used any more.
func (b *Body) Release() {
	if b.memory != nil && b.Bytes != nil {
		b.memory.put(b.Bytes)
	}
	b.Bytes = nil
}

// ReadBody reads n bytes into b, which must be released, between head and tail spare
// bytes, and writes each piece to sum, if not nil, as it arrives. It waits for at most
// BodyTimeout for memory, and again for the bytes. The memory in use grows with what has
// arrived: see Memory; on the heap, in two steps. The end of the stream within the body
// is io.ErrUnexpectedEOF.
func (r *Reader) ReadBody(b *Body, head, n, tail int, sum io.Writer) (err error) {
	size := head + n + tail
	if b.memory = r.memory; b.memory != nil {
		if b.Bytes, err = b.memory.take(size, r.socket.stop, time.Now().Add(BodyTimeout)); err != nil {
			return err
		}
	} else if n <= step {
		b.Bytes = make([]byte, size)
	} else {
		b.Bytes = make([]byte, step)
	}
	r.idle.limit = time.Now().Add(BodyTimeout)
	if r.water == nil {
		r.water = newLowWater(r.socket.Conn)
	}
	defer func() {
		r.idle.limit = time.Time{}
		r.water.await(1)
	}()
	for have := 0; have < n; {
		if head+have == len(b.Bytes) {
			b.Bytes = append(make([]byte, 0, size), b.Bytes...)[:size]
		}
		piece := b.Bytes[head+have : min(head+n, head+have+step, len(b.Bytes))]
		if r.idle.span >= BodyTimeout { // otherwise fewer bytes must move the deadline
			r.water.await(min(n-have, wakeAt))
		}
		k, err := r.readPiece(piece)
		if err != nil {
			b.Release()
			return err
		}
		if sum != nil {
			sum.Write(piece[:k])
		}
		have += k
	}
	return nil
}

// readPiece reads some of p, from the buffer or, if that is empty, the socket.
func (r *Reader) readPiece(p []byte) (k int, err error) {
	if r.r < r.w {
		k = copy(p, r.buf[r.r:r.w])
		if r.r += k; r.r == r.w {
			r.Release() // the rest bypasses the buffer
		}
		return k, nil
	}
	if err, r.err = r.err, nil; err == nil {
		k, err = r.readSocket(p)
	}
	switch {
	case k > 0:
		r.err = err
		return k, nil
	case err == nil:
		return 0, io.ErrNoProgress
	case err == io.EOF:
		return 0, io.ErrUnexpectedEOF
	case errors.Is(err, os.ErrDeadlineExceeded) && !r.socket.Interrupted() && !time.Now().Before(r.idle.limit):
		return 0, ErrSlow
	}
	return 0, err
}
