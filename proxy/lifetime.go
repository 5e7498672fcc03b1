package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// connection is what a session owns: a *stream.Socket or a *transport.Conn.
type connection interface {
	Interrupt()
	Close() error
	NetConn() net.Conn
}

// lifetime is what a session owns, and its end: interrupt ends a session between two
// messages, close and fail end it at once. All may be called from any goroutine.
type lifetime struct {
	mu          sync.Mutex
	conns       []connection
	timer       *time.Timer   // of after
	ends        []*time.Timer // of closeAfter
	failure     error         // the one given to the first fail
	atEnd       func()        // given to onEnd; nil once called
	interrupted bool
	closed      bool
}

// own registers c to be interrupted and closed with the session. If the session is
// closed already, own closes c and returns net.ErrClosed.
func (l *lifetime) own(c connection) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return net.ErrClosed
	}
	if l.interrupted {
		c.Interrupt()
	}
	l.conns = append(l.conns, c)
	return nil
}

// appendConns appends the connections that the session owns to all.
func (l *lifetime) appendConns(all []net.Conn) []net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		all = append(all, c.NetConn())
	}
	return all
}

// onEnd schedules f, which must not block, for when the session is interrupted or
// closed, whichever comes first.
func (l *lifetime) onEnd(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.atEnd = f; l.interrupted || l.closed {
		l.runAtEnd()
	}
}

func (l *lifetime) runAtEnd() { // l.mu is held
	if l.atEnd != nil {
		l.atEnd()
		l.atEnd = nil
	}
}

// interrupt ends the session between two messages. Only the first call has an effect: it
// must not cut short how long the client lingers.
func (l *lifetime) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.interrupted {
		return
	}
	l.interrupted = true
	for _, c := range l.conns {
		c.Interrupt()
	}
	l.runAtEnd()
}

// wasInterrupted reports whether interrupt was called: the server ends the session.
func (l *lifetime) wasInterrupted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.interrupted
}

// close closes the session's connections. It may be called more than once.
func (l *lifetime) close() { l.fail(nil) }

// fail closes the session because of err, unless it is closed already, and returns the
// error that it was closed with.
func (l *lifetime) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed, l.failure = true, err
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	for _, timer := range l.ends { // else they would keep the session in memory
		timer.Stop()
	}
	for _, c := range l.conns {
		c.Close()
		c.Interrupt() // so that nobody takes what fails now for the cause
	}
	l.conns, l.ends = nil, nil
	l.runAtEnd()
	return l.failure
}

// after schedules f after d, unless the session is closed by then. A session has one
// timer: call after again only once f runs.
func (l *lifetime) after(d time.Duration, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.timer = time.AfterFunc(d, f)
	}
}

// closeAfter closes the session after d. It may be called more than once.
func (l *lifetime) closeAfter(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.ends = append(l.ends, time.AfterFunc(d, l.close))
	}
}

// stalledError is a side of a translated session that has not completed a message for
// too long.
type stalledError struct{ side v1v2.Side }

func (e *stalledError) Error() string {
	return fmt.Sprintf("the %s has not completed a message for too long", e.side)
}

// watch fails a translated session when a side has not completed a message for the idle
// timeout and a quarter, or up to twice that: single bytes and decoys put off the idle
// timeout for ever. up and down are the progress so far.
func (s *session) watch(up, down uint64) {
	idle := s.server.idleTimeout()
	s.after(idle+idle/4, func() {
		switch nowUp, nowDown := progress(&s.up), progress(&s.down); {
		case nowUp == up:
			s.fail(&stalledError{v1v2.ClientSide})
		case nowDown == down:
			s.fail(&stalledError{v1v2.PeerSide})
		default:
			s.watch(nowUp, nowDown)
		}
	})
}

// progress returns how many messages went one way or were dropped.
func progress(c *v1v2.Counts) uint64 { return c.Messages.Load() + c.Dropped() }

// endOther ends the session after one direction has ended with err: at once if the
// client is gone and nothing of it waits, or the peer too slow while others wait for memory;
// otherwise closeWrite passes on the end of the stream, and the other direction has
// LingerTimeout to finish.
func (s *session) endOther(err error, closeWrite func() error) {
	linger := s.server.lingerTimeout()
	switch left := s.clientLeft(err); {
	case left && !s.holdsBack(), errors.Is(err, transport.ErrReclaimed):
		s.close()
		return
	case left:
		s.closeAfter(maxHeldBack + linger) // the peer may take nothing
	}
	closeWrite()
	s.closeAfter(linger)
}

// clientLeft reports whether a direction has ended with err because the client is gone.
func (s *session) clientLeft(err error) bool {
	var end *v1v2.EndError
	return errors.As(err, &end) && end.Side == v1v2.ClientSide && end.Err != io.EOF && !s.wasInterrupted()
}

// linger gives the client up to d to take what it was sent and to close its side, see
// lingerOn; in a peer's session, the node and the peer: both are owed whole messages.
func (s *session) linger(d time.Duration) {
	if s.wasInterrupted() {
		d = min(d, stopTimeout)
	}
	if s.peer == nil {
		lingerOn(s.client, d)
		return
	}
	var both sync.WaitGroup
	for _, c := range []*stream.Socket{s.client, s.peer.socket} {
		both.Go(func() { lingerOn(c, d) })
	}
	both.Wait()
}

// lingerOn closes our side of c and waits up to d for the other. Closing both while the other
// end still talks would reset the connection, and the reset would overtake the data.
func lingerOn(c *stream.Socket, d time.Duration) {
	c.CloseWrite()
	c.Conn.SetReadDeadline(time.Now().Add(d)) // of the connection underneath: an interrupted one lingers, too
	io.Copy(io.Discard, c.Conn)
}
