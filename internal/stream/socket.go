package stream

import (
	"net"
	"sync"
	"time"
)

// Socket is a connection whose reads can be interrupted: after Interrupt every read
// deadline is in the past, whatever is set later and by whom. Each direction has two
// deadlines, of which the earlier counts: one of the stage that uses it, such as a
// Reader's, and the limit of the connection's user.
type Socket struct {
	net.Conn
	once   sync.Once
	stop   chan struct{} // closed by Interrupt
	reads  deadlines
	writes deadlines
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
// until SetWriteDeadline is called.
func (s *Socket) Abort() {
	s.Interrupt()
	s.SetWriteDeadline(past)
}

// Wake makes the read in progress fail with os.ErrDeadlineExceeded, and later ones
// until SetReadDeadline is called.
func (s *Socket) Wake() { s.SetReadDeadline(past) }

// SetReadDeadline sets the deadline of reads, unless Interrupt was called.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.reads.set(&s.reads.own, t, s.applyRead) }

// SetWriteDeadline sets the deadline of writes.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	return s.writes.set(&s.writes.own, t, s.Conn.SetWriteDeadline)
}

// SetDeadline sets the deadlines of writes and, unless Interrupt was called, of reads.
func (s *Socket) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// LimitReads sets the user's deadline of reads. It takes effect on the one in progress.
// Any goroutine may call it.
func (s *Socket) LimitReads(t time.Time) error { return s.reads.set(&s.reads.limit, t, s.applyRead) }

// LimitWrites is LimitReads for writes.
func (s *Socket) LimitWrites(t time.Time) error {
	return s.writes.set(&s.writes.limit, t, s.Conn.SetWriteDeadline)
}

func (s *Socket) applyRead(t time.Time) error {
	err := s.Conn.SetReadDeadline(t)
	if s.Interrupted() { // perhaps just before: t must not undo that
		err = s.Conn.SetReadDeadline(past)
	}
	return err
}

// Close closes the connection. A read that waits for memory ends, too.
func (s *Socket) Close() error {
	s.reads.close()
	return s.Conn.Close()
}

// CloseWrite closes the direction to the other end, or both directions of a connection
// that cannot close one.
func (s *Socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Close()
}
