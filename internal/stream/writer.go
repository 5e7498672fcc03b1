package stream

import (
	"net"
	"sync"
	"time"
)

// BatchSize is the most that a Writer gathers for one write, in bytes.
const BatchSize = 16 << 10

// Writer gathers messages for a socket and sends them in one write, in memory that
// it borrows from the first of them until then. Its zero value is not usable; see
// NewWriter. It is for one goroutine at a time.
type Writer struct {
	// Buf is what has been gathered. Append to it after Reserve.
	Buf []byte

	conn  net.Conn
	stall deadline
	err   error
	batch *[BatchSize]byte // which Buf lies in
}

var batches = sync.Pool{New: func() any { return new([BatchSize]byte) }}

// NewWriter returns a Writer on conn that sets no deadlines of its own until
// SetStall is called.
func NewWriter(conn net.Conn) *Writer {
	return &Writer{conn: conn}
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
		w.Buf = w.batch[:0]
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

// Flush sends what Buf holds in one write, and gives back what was borrowed for it.
// An error stays: every later call returns it.
func (w *Writer) Flush() error {
	if len(w.Buf) > 0 {
		w.send(w.Buf)
	}
	w.release()
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
	}
	w.batch, w.Buf = nil, nil
}
