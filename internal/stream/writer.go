package stream

import (
	"net"
	"sync"
	"time"
)

// BatchSize is the size of a Writer's batch, in bytes.
const BatchSize = 16 << 10

// Writer gathers messages for a socket and sends them in one write. It holds a batch only
// while it has messages. It is for one goroutine at a time; NewWriter makes one.
type Writer struct {
	// Buf is what was gathered. Append to it after Reserve.
	Buf []byte

	socket *Socket
	stall  deadline
	err    error
	batch  *[BatchSize]byte // holds Buf
}

var batches = sync.Pool{New: func() any { return new([BatchSize]byte) }}

// NewWriter returns a Writer to conn, which sets no deadlines until SetStall is called.
func NewWriter(conn net.Conn) *Writer { return &Writer{socket: NewSocket(conn)} }

// SetStall makes writes fail that the other side does not take within d.
func (w *Writer) SetStall(d time.Duration) { w.stall = deadline{span: d} }

// Reserve makes room in Buf for n more bytes, at most BatchSize, and writes out what is
// there if necessary.
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

// Flush sends what was gathered, in one write. An error stays: every later call returns
// it.
func (w *Writer) Flush() error {
	if len(w.Buf) > 0 {
		w.send(w.Buf)
	}
	w.release()
	return w.err
}

// FlushWith sends what was gathered and then p, a large message, which may take at most
// BodyTimeout.
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
		w.socket.SetWriteDeadline(until)
	}
	_, w.err = w.socket.Conn.Write(p)
}

func (w *Writer) release() {
	if w.batch != nil {
		batches.Put(w.batch)
	}
	w.batch, w.Buf = nil, nil
}

// Write gathers p, which leaves with the next Flush, or sends it at once if it is large.
func (w *Writer) Write(p []byte) (int, error) {
	if len(p) > BatchSize {
		return len(p), w.FlushWith(p)
	}
	if err := w.Reserve(len(p)); err != nil {
		return 0, err
	}
	w.Buf = append(w.Buf, p...)
	return len(p), nil
}
