package stream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
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
	heap   *[]byte // holds Bytes, if they are on the heap
	holder holder  // until all bytes have arrived

	partial   atomic.Bool // while ReadBody has yet to finish it
	have      int         // bytes read, while partial
	until     time.Time   // ends the wait for memory or for the bytes, while partial
	mu        sync.Mutex  // held by ReadBody, and by others while partial
	abandoned atomic.Bool
}

// Partial reports whether ReadBody has yet to finish b.
func (b *Body) Partial() bool { return b.partial.Load() }

// Release frees the body, if it holds one, or what has arrived of it. Its bytes must not
// be used any more.
func (b *Body) Release() {
	switch {
	case b.Partial():
		b.mu.Lock()
		b.free()
		b.mu.Unlock()
	case b.Bytes != nil:
		b.free()
	}
}

// Abandon releases b if it is partial, now or after the ReadBody in progress. Any
// goroutine may call it, once the socket is closed.
func (b *Body) Abandon() {
	b.abandoned.Store(true)
	b.mayFree()
}

// mayFree frees b if it is partial and abandoned, unless ReadBody runs.
func (b *Body) mayFree() {
	if b.abandoned.Load() && b.mu.TryLock() {
		if b.Partial() {
			b.free()
		}
		b.mu.Unlock()
	}
}

func (b *Body) free() {
	b.holder.leave()
	switch {
	case b.Bytes == nil:
	case b.memory != nil:
		b.memory.put(b.Bytes)
	default:
		PutHeapBody(b.heap)
	}
	b.Bytes, b.heap, b.have = nil, nil, 0
	b.partial.Store(false)
}

// ReadBody reads n bytes into b, which must be released, between head and tail spare
// bytes, and writes each piece to sum, if not nil, as it arrives. It waits for at most
// BodyTimeout for memory, and again for the bytes. The memory in use grows with what has
// arrived: see Memory; on the heap, in two steps, unless a body can be used again. The end
// of the stream within the body is io.ErrUnexpectedEOF.
//
// After os.ErrDeadlineExceeded b is partial, and holds what has arrived: the same call
// goes on from there. After other errors b is released.
func (r *Reader) ReadBody(b *Body, head, n, tail int, sum io.Writer) error {
	b.mu.Lock()
	err := r.takeBody(b, head+n+tail, n)
	if err == nil {
		err = r.fillBody(b, head, n, tail, sum)
	}
	if err == nil && b.holder.leave() || b.holder.reclaimed() {
		err = ErrReclaimed
	}
	switch {
	case err == nil:
		b.have = 0
		b.partial.Store(false)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		b.free()
	}
	b.mu.Unlock()
	b.mayFree()
	return err
}

// takeBody takes memory for b, unless it has some: size bytes, or less if the n bytes to
// read must have arrived in part before the rest.
func (r *Reader) takeBody(b *Body, size, n int) (err error) {
	if b.Bytes != nil {
		return nil
	}
	if !b.Partial() {
		b.until = time.Now().Add(BodyTimeout)
		b.partial.Store(true)
	}
	if b.memory = r.memory; b.memory != nil {
		if b.Bytes, err = b.memory.take(size, b.until, r.socket.stop, &r.socket.reads); err != nil {
			return err
		}
	} else {
		b.takeHeap(size, n)
	}
	b.until = time.Now().Add(BodyTimeout)
	if r.reclaim {
		b.memory.hold(&b.holder, r.socket, false, size)
	}
	return nil
}

// takeHeap takes memory for b on the heap: size bytes if n, of which all must arrive, are
// few or a body of that size is not in use any more.
func (b *Body) takeHeap(size, n int) {
	if b.heap = usedHeapBody(size); b.heap == nil && n > step {
		b.heap, size = HeapBody(step), step
	} else if b.heap == nil {
		b.heap = HeapBody(size)
	}
	b.Bytes = (*b.heap)[:size]
}

// grow gives b its size bytes on the heap.
func (b *Body) grow(size int) {
	whole := HeapBody(size)
	copy(*whole, b.Bytes)
	PutHeapBody(b.heap)
	b.heap, b.Bytes = whole, (*whole)[:size]
}

// fillBody reads what is missing of b.
func (r *Reader) fillBody(b *Body, head, n, tail int, sum io.Writer) error {
	r.idle.limit = b.until
	if r.water == nil {
		r.water = newLowWater(r.socket.Conn)
	}
	defer func() {
		r.idle.limit = time.Time{}
		r.water.await(1)
	}()
	for b.have < n {
		at := head + b.have
		if at == len(b.Bytes) {
			b.grow(head + n + tail)
		}
		piece := b.Bytes[at:min(head+n, at+step, len(b.Bytes))]
		if r.idle.span <= 0 || r.idle.span >= BodyTimeout { // otherwise fewer bytes must move the deadline
			r.water.await(min(n-b.have, wakeAt))
		}
		k, err := r.readPiece(piece)
		if err != nil {
			return err
		}
		if sum != nil {
			sum.Write(piece[:k])
		}
		b.have += k
		b.holder.moved.Add(uint64(k))
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
