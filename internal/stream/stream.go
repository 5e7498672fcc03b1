// Package stream reads and writes sockets for both sides of a session. [Socket] can be
// interrupted for good; [Reader] is a buffer whose every read has a deadline and which
// costs little while it waits, with large bodies from one budget, [Memory]; [Writer]
// turns many messages into one write; [Relay] copies in the kernel. The package knows
// neither SOCKS nor Bitcoin.
package stream

import (
	"bufio"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// bufferSize is the size of a Reader's large buffer, in bytes. A message that fits is
	// handled there, without a copy, and fits a batch with any framing.
	bufferSize = BatchSize - 64

	// idleSize is the size of the buffer that a Reader waits with, in bytes. Pings, small
	// inventories and many transactions fit; larger messages take a second read.
	idleSize = 256
)

// Reader is the one buffered reader of a socket, so that no stage loses the bytes that
// another has read ahead. It waits for the socket with a small buffer, and borrows a
// large one while more arrives.
type Reader struct {
	socket  *Socket
	idle    deadline
	memory  *Memory
	reclaim bool      // of the memory of bodies; see Reclaim
	water   *lowWater // nil before the first body

	buf  []byte // small, large or bulk
	r, w int    // buf[r:w] was read ahead
	more bool   // the last read filled the buffer: more has arrived, most likely
	err  error  // came with the last bytes; for the next read

	large *[bufferSize]byte
	bulk  *bulk // besides large, while reads fill that
	small [idleSize]byte
}

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// NewReader returns a Reader of conn, which sets no deadlines until SetIdle is called.
func NewReader(conn net.Conn) *Reader {
	r := &Reader{socket: NewSocket(conn)}
	r.buf = r.small[:]
	return r
}

// SetMemory allocates bodies from m. Without it they are on the heap, unlimited. It must
// not be called while another goroutine reads.
func (r *Reader) SetMemory(m *Memory) { r.memory = m }

// Unread puts b, at most Size bytes that were read elsewhere, in front of what the socket
// has. It must be the first call.
func (r *Reader) Unread(b []byte) {
	r.makeRoom(len(b))
	r.w = copy(r.buf, b)
}

// Expect makes the next read wait with the large buffer.
func (r *Reader) Expect() { r.more = true }

// Size returns the most that Peek can return, in bytes.
func (r *Reader) Size() int { return bufferSize }

// Buffered returns how many bytes were read ahead.
func (r *Reader) Buffered() int { return r.w - r.r }

// Peek returns the next n bytes without consuming them, like bufio.Reader's: they are
// valid until the next call that reads from the socket. If there are fewer the error says
// why: bufio.ErrBufferFull if n is larger than Size.
func (r *Reader) Peek(n int) ([]byte, error) {
	if n > bufferSize {
		return r.buf[r.r:r.w], bufio.ErrBufferFull
	}
	for r.w-r.r < n {
		if err := r.fill(n); err != nil {
			return r.buf[r.r:r.w], err
		}
	}
	return r.buf[r.r : r.r+n], nil
}

// Discard consumes n bytes, which must be buffered.
func (r *Reader) Discard(n int) {
	if n > r.w-r.r {
		panic("stream: internal error: more discarded than buffered")
	}
	r.r += n
}

// Read implements io.Reader. Reads as large as the buffer bypass it.
func (r *Reader) Read(p []byte) (int, error) {
	if r.r == r.w {
		if r.err == nil && len(p) >= bufferSize {
			return r.readSocket(p)
		}
		if err := r.fill(1); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}

// Await waits until something is buffered, or until a read would fail: the next one does. It
// takes less stack than a read of a message.
func (r *Reader) Await() {
	if r.r == r.w && r.err == nil {
		if err := r.fill(1); err != nil {
			r.err = err
		}
	}
}

// readSocket reads past the buffer.
func (r *Reader) readSocket(p []byte) (int, error) {
	r.Extend()
	return r.socket.Conn.Read(p)
}

// Extend moves the deadline on, as every read does; see SetIdle.
func (r *Reader) Extend() {
	if until, ok := r.idle.extend(); ok {
		r.socket.SetReadDeadline(until)
	}
}

// fill reads once from the socket, into a buffer for at least n bytes.
func (r *Reader) fill(n int) error {
	if err := r.err; err != nil {
		r.err = nil
		return err
	}
	r.makeRoom(n)
	for range 100 {
		k, err := r.readSocket(r.buf[r.w:])
		r.w += k
		r.more = r.w == len(r.buf)
		if k > 0 {
			r.err = err
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// makeRoom chooses the buffer for the next read, and moves its contents to the start if n
// bytes would not fit behind r.
func (r *Reader) makeRoom(n int) {
	ahead := r.buf[r.r:r.w]
	var unused *bulk
	switch {
	case r.large == nil && (r.more || n > idleSize):
		r.large = buffers.Get().(*[bufferSize]byte)
		r.buf = r.large[:]
	case r.large != nil && len(ahead) == 0 && !r.more && n <= idleSize:
		r.releaseLarge()
	case r.bulk != nil && !r.more && len(ahead) < bufferSize:
		r.buf, unused, r.bulk = r.large[:], r.bulk, nil
	case r.bulk == nil && r.large != nil && r.more && r.takeBulk():
	case r.r > 0 && (len(ahead) == 0 || r.r+n > len(r.buf) || r.w == len(r.buf)):
	default:
		return
	}
	r.r, r.w = 0, copy(r.buf, ahead)
	putBulk(unused) // not before ahead is copied
}

// takeBulk makes bulk the buffer, unless too many are in use.
func (r *Reader) takeBulk() bool {
	if r.bulk = takeBulk(); r.bulk != nil {
		r.buf = r.bulk[:]
	}
	return r.bulk != nil
}

func (r *Reader) releaseLarge() {
	buffers.Put(r.large)
	putBulk(r.bulk)
	r.large, r.bulk, r.buf = nil, nil, r.small[:]
}

// Release returns the large buffer and discards what was read ahead. It must not be
// called while another goroutine reads.
func (r *Reader) Release() {
	r.r, r.w = 0, 0
	if r.large != nil {
		r.releaseLarge()
	}
}

// SetIdle makes reads from the socket fail if nothing arrives for d. Zero leaves the
// deadlines to the caller. It must not be called while another goroutine reads.
func (r *Reader) SetIdle(d time.Duration) { r.idle = deadline{span: d} }

// Interrupt interrupts the socket. What was read ahead can still be read.
func (r *Reader) Interrupt() { r.socket.Interrupt() }
