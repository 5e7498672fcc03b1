package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// BatchSize is the size of a Writer's batch, in bytes.
const BatchSize = 16 << 10

// Writer gathers messages for a socket and sends them in one write. It holds a batch only
// while it has messages. It is for one goroutine at a time; NewWriter makes one.
//
// After the user's deadline, see Socket.LimitWrites, the Writer keeps what it could not
// send, and sends that before anything else. Every other error stays: each later call
// returns it, or ErrStalled after a stall.
type Writer struct {
	// Buf is what was gathered. Append to it after Reserve.
	Buf []byte

	socket *Socket
	stall  deadline
	err    error
	batch  *[BatchSize]byte // holds Buf
	bulk   *bulk            // holds it instead, once batch was full
	rest   []byte           // what a deadline has left of a write; then Buf is empty
	stuck  bool             // nothing of rest was sent
	memory *Memory          // of what Send sends, if it can be reclaimed
	holder holder           // while Send sends
}

// ErrStalled means that the other side had taken nothing for too long when something was
// sent before. The call that waited has returned os.ErrDeadlineExceeded, after which those
// who do not know of the limit would try again, for ever.
var ErrStalled = errors.New("the other side has taken nothing for too long")

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
		if err := w.Ready(); err != nil {
			return err
		}
		w.batch = batches.Get().(*[BatchSize]byte)
		w.Buf = w.batch[:0]
	}
	if cap(w.Buf)-len(w.Buf) < n {
		err := w.send(w.Buf)
		if w.Buf = w.Buf[:0]; w.bulk == nil {
			if w.bulk = takeBulk(); w.bulk != nil {
				w.Buf = w.bulk[:0]
			}
		}
		if err != nil {
			w.release()
			return err
		}
	}
	return nil
}

// Ready sends what was gathered or kept, and then checks the user's deadline. Only if it
// succeeds may Send be called.
func (w *Writer) Ready() error {
	if err := w.Flush(); err != nil {
		return err
	}
	if w.socket.writes.passed() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Err returns the error of all further calls, or os.ErrDeadlineExceeded if the user's deadline
// has passed.
func (w *Writer) Err() error {
	if w.err == nil && w.socket.writes.passed() {
		return os.ErrDeadlineExceeded
	}
	return w.err
}

// Failed returns the error of all further calls.
func (w *Writer) Failed() error { return w.err }

// Pending reports whether a deadline has left something to be sent.
func (w *Writer) Pending() bool { return len(w.rest) > 0 }

// Flush sends what was gathered, in one write.
func (w *Writer) Flush() error {
	err := w.err
	if w.Pending() {
		err = w.resume()
	}
	if err == nil && len(w.Buf) > 0 {
		err = w.send(w.Buf)
	}
	w.release()
	return err
}

// FlushWith sends what was gathered and then p, a large message, which may take at most
// BodyTimeout. If the former fails nothing of p is sent or kept.
func (w *Writer) FlushWith(p []byte) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return w.Send(p)
}

// Send sends a large message, as FlushWith does, right after Ready: its parts in turn, each in
// one write.
func (w *Writer) Send(parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	w.stall.limit, w.stall.until = time.Now().Add(BodyTimeout), time.Time{}
	w.memory.hold(&w.holder, w.socket, true, size)
	var err error
	for _, p := range parts {
		switch {
		case err == nil:
			err = w.send(p)
		case w.Pending():
			w.rest = append(w.rest, p...)
		}
	}
	if w.holder.leave() {
		w.err, w.rest, err = ErrReclaimed, nil, ErrReclaimed
	}
	if !w.Pending() {
		w.stall.limit = time.Time{}
	}
	return err
}

// resume sends what a deadline has left.
func (w *Writer) resume() error {
	err := w.send(w.rest)
	if err == nil {
		w.rest, w.stuck, w.stall.limit = nil, false, time.Time{}
	}
	return err
}

// send sends p, which is rest if that is not empty.
func (w *Writer) send(p []byte) error {
	if w.err != nil {
		return w.err
	}
	if !w.stuck {
		if until, ok := w.stall.extend(); ok {
			w.socket.SetWriteDeadline(until)
		}
	}
	n, err := w.write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err == nil {
		return nil
	}
	w.stuck = false
	switch {
	case n == len(p) || !w.keeps(err):
		w.err, w.rest = err, nil
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.err = ErrStalled
		}
	case w.Pending():
		w.rest, w.stuck = p[n:], n == 0
	default:
		w.rest, w.stuck = bytes.Clone(p[n:]), n == 0
	}
	return err
}

// keeps reports whether what err has left is to be sent later: whether it is the user's
// deadline that has passed.
func (w *Writer) keeps(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && w.socket.writes.limited.Load() &&
		(w.stall.until.IsZero() || time.Now().Before(w.stall.until))
}

func (w *Writer) release() {
	if w.batch != nil {
		batches.Put(w.batch)
	}
	putBulk(w.bulk)
	w.batch, w.bulk, w.Buf = nil, nil, nil
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
