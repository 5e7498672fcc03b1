package stream

import (
	"net"
	"sync"
	"time"
)

const (
	// BatchSize is the most that a Writer gathers for one write, in bytes.
	BatchSize = 16 << 10

	// idleBatch is what a Writer has room for without borrowing memory, in bytes:
	// a message or two that come by themselves.
	idleBatch = 256
)

// Writer gathers messages for a socket and sends them in one write. Its zero
// value is not usable; see NewWriter. It is for one goroutine at a time.
type Writer struct {
	// Buf is what has been gathered. Append to it after Reserve.
	Buf []byte

	conn  net.Conn
	stall deadline
	err   error

	idle  [idleBatch]byte
	batch *[BatchSize]byte
}

var batches = sync.Pool{New: func() any { return new([BatchSize]byte) }}

// NewWriter returns a Writer on conn that sets no deadlines of its own until
// SetStall is called.
func NewWriter(conn net.Conn) *Writer {
	w := &Writer{conn: conn}
	w.release()
	return w
}

// SetStall makes a write fail if the other side does not take it within d.
func (w *Writer) SetStall(d time.Duration) { w.stall = deadline{span: d} }

// Reserve makes room for n more bytes in Buf, n at most BatchSize, and writes
// out what is there if it must.
func (w *Writer) Reserve(n int) error {
	if w.err != nil || cap(w.Buf)-len(w.Buf) >= n {
		return w.err
	}
	if w.batch == nil {
		w.batch = batches.Get().(*[BatchSize]byte)
		w.Buf = append(w.batch[:0], w.Buf...)
	}
	if cap(w.Buf)-len(w.Buf) < n {
		w.send(w.Buf)
		w.Buf = w.batch[:0]
	}
	if w.err != nil {
		w.release()
	}
	return w.err
}

// Flush sends what Buf holds in one write. A Writer with nothing gathered
// has borrowed nothing. An error stays: every later call returns it.
func (w *Writer) Flush() error {
	if len(w.Buf) > 0 {
		w.send(w.Buf)
		w.release()
	}
	return w.err
}

// FlushWith sends what Buf holds and then p, a large message, which may take
// BodyTimeout at most.
func (w *Writer) FlushWith(p []byte) error {
	w.Flush() // its error stays
	w.stall.limit, w.stall.until = time.Now().Add(BodyTimeout), time.Time{}
	w.send(p)
	w.stall.limit = time.Time{}
	return w.err
}

func (w *Writer) send(p []byte) {
	if w.err != nil {
		return
	}
	if until, ok := w.stall.extend(); ok {
		w.conn.SetWriteDeadline(until)
	}
	_, w.err = w.conn.Write(p)
}

// release gives back the batch.
func (w *Writer) release() {
	if w.batch != nil {
		batches.Put(w.batch)
		w.batch = nil
	}
	w.Buf = w.idle[:0]
}
