package stream

import (
	"net"
	"sync"
	"time"
)

// BatchSize is the most that a Writer gathers for one write, in bytes.
const BatchSize = 32 << 10

// Writer gathers messages for a socket and sends them in one write. Its zero
// value is not usable; see NewWriter. It is for one goroutine at a time.
type Writer struct {
	// Buf is what has been gathered. Append to it after Reserve.
	Buf []byte

	conn  net.Conn
	stall deadline
	batch *batch
	vec   [2][]byte // backs the net.Buffers of FlushWith
	bufs  net.Buffers
	err   error
}

type batch [BatchSize]byte

var batches = sync.Pool{New: func() any { return new(batch) }}

// NewWriter returns a Writer on conn that sets no deadlines of its own until
// SetStall is called.
func NewWriter(conn net.Conn) *Writer { return &Writer{conn: conn} }

// SetStall makes a write fail if the other side does not take it within d.
func (w *Writer) SetStall(d time.Duration) { w.stall = deadline{span: d} }

// Reserve makes room for n more bytes in Buf, n at most BatchSize, and writes
// out what is there if it must.
func (w *Writer) Reserve(n int) error {
	if w.batch != nil && cap(w.Buf)-len(w.Buf) < n {
		w.Flush() // its error stays in w.err
	}
	if w.err != nil {
		return w.err
	}
	if w.batch == nil {
		w.batch = batches.Get().(*batch)
		w.Buf = w.batch[:0]
	}
	return nil
}

// Flush sends what Buf holds in one write. A Writer with nothing gathered
// holds no memory. An error stays: every later call returns it.
func (w *Writer) Flush() error {
	if len(w.Buf) > 0 && w.err == nil {
		w.arm()
		_, w.err = w.conn.Write(w.Buf)
	}
	w.release()
	return w.err
}

// FlushWith sends what Buf holds and then p, as one write where the system can
// gather.
func (w *Writer) FlushWith(p []byte) error {
	if len(w.Buf) == 0 {
		w.release()
		if w.err == nil {
			w.arm()
			_, w.err = w.conn.Write(p)
		}
		return w.err
	}
	if w.err == nil {
		w.arm()
		w.vec[0], w.vec[1] = w.Buf, p
		w.bufs = w.vec[:]
		_, w.err = w.bufs.WriteTo(w.conn)
		w.vec = [2][]byte{}
	}
	w.release()
	return w.err
}

func (w *Writer) arm() {
	if until, ok := w.stall.extend(); ok {
		w.conn.SetWriteDeadline(until)
	}
}

func (w *Writer) release() {
	if w.batch != nil {
		batches.Put(w.batch)
		w.batch, w.Buf = nil, nil
	}
}
