// Package stream is what the two sides of a session share about sockets: a
// buffered reader whose every read has a deadline, bodies that grow only as
// their bytes arrive, and a writer that turns many messages into one write.
// It knows neither SOCKS nor Bitcoin.
package stream

import (
	"bufio"
	"net"
	"sync/atomic"
	"time"
)

// bufferSize is the size of a Reader's buffer, in bytes. A message that fits
// is handled inside it, without a copy.
const bufferSize = 16 << 10

// Reader is the one buffered reader that a socket has for its life, so that
// bytes read ahead by one stage are there for the next.
type Reader struct {
	*bufio.Reader
	src source
}

// NewReader returns a Reader on conn that sets no deadlines of its own until
// SetIdle is called.
func NewReader(conn net.Conn) *Reader {
	r := &Reader{src: source{conn: conn}}
	r.Reader = bufio.NewReaderSize(&r.src, bufferSize)
	return r
}

// SetIdle makes every read from the socket fail if nothing arrives for d.
// Zero leaves the socket's deadlines to the caller. It must not be called
// while another goroutine reads.
func (r *Reader) SetIdle(d time.Duration) {
	r.src.idle.span = d
	r.src.idle.until = time.Time{}
}

// Interrupt makes the present read and all later ones fail with
// os.ErrDeadlineExceeded. Bytes already buffered can still be read. It is safe
// to call from any goroutine.
func (r *Reader) Interrupt() {
	r.src.interrupted.Store(true)
	r.src.conn.SetReadDeadline(past)
}

// Interrupted says whether Interrupt was called.
func (r *Reader) Interrupted() bool { return r.src.interrupted.Load() }

// past is a deadline that has gone by on every clock.
var past = time.Unix(1, 0)

// source is a socket's reading half below the buffer.
type source struct {
	conn        net.Conn
	idle        deadline
	interrupted atomic.Bool
}

func (s *source) Read(p []byte) (int, error) {
	if until, ok := s.idle.extend(); ok {
		s.conn.SetReadDeadline(until)
		if s.interrupted.Load() {
			s.conn.SetReadDeadline(past)
		}
	}
	return s.conn.Read(p)
}

// deadline is one that moves on with activity. Setting a socket's deadline
// costs more than reading the clock, so it is moved in steps of an eighth.
type deadline struct {
	span  time.Duration
	until time.Time
}

// extend returns the new deadline, and whether the socket must be told.
func (d *deadline) extend() (time.Time, bool) {
	if d.span <= 0 {
		return time.Time{}, false
	}
	until := time.Now().Add(d.span)
	if until.Sub(d.until) < d.span/8 {
		return d.until, false
	}
	d.until = until
	return until, true
}
