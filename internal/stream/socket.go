package stream

import (
	"net"
	"sync"
	"time"
)

// Socket is a connection whose reads can be interrupted: after Interrupt every read
// deadline is in the past, whatever is set later and by whom.
type Socket struct {
	net.Conn
	once sync.Once
	stop chan struct{} // closed by Interrupt
}

// NewSocket returns a Socket on conn, or conn if it is one.
func NewSocket(conn net.Conn) *Socket {
	if s, ok := conn.(*Socket); ok {
		return s
	}
	return &Socket{Conn: conn, stop: make(chan struct{})}
}

// NetConn returns the connection underneath, which the kernel can copy from and to.
func (s *Socket) NetConn() net.Conn { return s.Conn }

// Interrupt makes the read in progress and all later ones fail with
// os.ErrDeadlineExceeded. Any goroutine may call it.
func (s *Socket) Interrupt() {
	s.once.Do(func() { close(s.stop) })
	s.Conn.SetReadDeadline(past)
}

// Interrupted reports whether Interrupt was called.
func (s *Socket) Interrupted() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Abort interrupts s and makes writes fail, too: the one in progress and all later ones
// until a deadline is set.
func (s *Socket) Abort() {
	s.Interrupt()
	s.Conn.SetWriteDeadline(past)
}

// Wake makes the read in progress fail with os.ErrDeadlineExceeded, and later ones
// until a deadline is set.
func (s *Socket) Wake() { s.Conn.SetReadDeadline(past) }

// SetReadDeadline sets the deadline of reads, unless Interrupt was called.
func (s *Socket) SetReadDeadline(t time.Time) error {
	err := s.Conn.SetReadDeadline(t)
	if s.Interrupted() { // perhaps just before: t must not undo that
		err = s.Conn.SetReadDeadline(past)
	}
	return err
}

// SetDeadline sets the deadlines of writes and, unless Interrupt was called, of reads.
func (s *Socket) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.Conn.SetWriteDeadline(t)
}

// CloseWrite closes the direction to the other end, or both directions of a connection
// that cannot close one.
func (s *Socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Close()
}

// past is a deadline that has passed on every clock.
var past = time.Unix(1, 0)

// deadline moves on with activity. Setting a socket's deadline costs more than
// reading the clock, so it moves in steps of an eighth.
type deadline struct {
	span  time.Duration // from an activity to the deadline; 0 for none
	until time.Time     // as the socket was told last
	limit time.Time     // if not zero: no activity moves it beyond
}

// extend returns the new deadline, and whether the socket must be told.
func (d *deadline) extend() (time.Time, bool) {
	if d.span <= 0 {
		return time.Time{}, false
	}
	until := time.Now().Add(d.span)
	if !d.limit.IsZero() && until.After(d.limit) {
		until = d.limit
	}
	if moved := until.Sub(d.until); 0 <= moved && moved < d.span/8 {
		return d.until, false
	}
	d.until = until
	return until, true
}
