package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// rawRelay is a session in which bytes pass as they are.
type rawRelay struct {
	*stream.Relay
	peer net.Conn
	down chan error // the end of the direction to the client

	spoke chan struct{} // closed when the peer has said something

	broken sync.Once
	cause  error // why, if it did not come to its end in both directions

	// hungUp is how the peer ended its stream, if the client had not ended its
	// own. It is to be read after down has been received from.
	hungUp error
}

func (s *session) newRelay(peer net.Conn) *rawRelay {
	r := &rawRelay{
		Relay: stream.NewRelay(s.client, peer, s.server.idleTimeout()),
		peer:  peer,
		down:  make(chan error, 1),
		spoke: make(chan struct{}),
	}
	s.setRelay(r)
	return r
}

// startRelay passes on what the peer says.
func (s *session) startRelay(peer net.Conn) *rawRelay {
	r := s.newRelay(peer)
	go s.relayDown(r)
	return r
}

func (s *session) relayDown(r *rawRelay) {
	err := r.BToA(&s.down.Bytes, func() { close(r.spoke) })
	var op *net.OpError
	switch {
	case r.EndedFirst(s.client):
	case err == nil:
		r.hungUp = io.EOF
	case errors.As(err, &op) && op.Op == "read": // not a write to the client
		r.hungUp = err
	}
	if err != nil && !r.Interrupted() {
		s.breakRelay(r, err)
	}
	r.down <- err
}

// breakRelay ends both directions because one failed. The first failure is the
// cause; those that follow from it are not.
func (s *session) breakRelay(r *rawRelay, err error) {
	r.broken.Do(func() { r.cause = err })
	s.close()
}

// stopRelay takes the peer's connection back from a relay through which nothing
// has passed.
func (s *session) stopRelay(r *rawRelay) error {
	r.Interrupt()
	s.client.SetWriteDeadline(time.Unix(1, 0)) // if it writes, it is too late anyway
	err := <-r.down
	s.setRelay(nil)
	if s.down.Bytes.Load() > 0 {
		return errPeerFirst
	}
	if err == nil || !isTimeout(err) {
		return errPeerClosed
	}
	r.peer.SetDeadline(time.Time{})
	s.client.SetWriteDeadline(time.Time{})
	s.client.SetReadDeadline(time.Now().Add(s.server.firstBytesTimeout()))
	if s.wasInterrupted() {
		return errStopping
	}
	return nil
}

// passThrough relays a client that does not speak v1.
func (s *session) passThrough(r *rawRelay) (talk func() error, err error) {
	switch silent := s.in.Buffered() == 0; { // it has ended its side without a word
	case silent && r == nil:
		return nil, errClientLeft
	case r == nil:
		return nil, errPassthroughDenied
	case silent:
		if err := s.awaitPeer(r); err != nil {
			return nil, err
		}
	}
	s.logOpen("passthrough")
	return func() error {
		err := s.relayUp(r)
		// The client may have spoken v2, and come back with v1.
		s.dialer.NoteFailed(s.shown.Dest, &transport.HandshakeError{
			Sent: int(s.up.Bytes.Load()), Received: int(s.down.Bytes.Load()), Err: r.hungUp})
		return err
	}, nil
}

// awaitPeer passes on that the client has ended its side without a word, and waits
// for the peer's first bytes. If none come, the client had not come to listen.
func (s *session) awaitPeer(r *rawRelay) error {
	if err := r.AToB(&s.up.Bytes); err != nil {
		s.breakRelay(r, err)
	}
	select {
	case <-r.spoke:
		return nil
	case err := <-r.down:
		r.down <- err // for relayUp
		switch {
		case s.down.Bytes.Load() > 0:
			return nil
		case r.hungUp != nil:
			return errPeerClosed
		case isTimeout(err):
			return err
		}
		return errClientLeft
	}
}

// speakV1 relays a v1 client to a v1 peer, beginning with its VERSION.
func (s *session) speakV1(link transport.Link, magic [4]byte, first *v1v2.Message, messages *v1v2.Reader) (talk func() error, err error) {
	peer := link.V1
	r := s.newRelay(peer)
	cause := fallbackCause(link.Cause)
	s.server.count(func(t *tally) { t.fallbacks[cause]++ })
	host, _, _ := net.SplitHostPort(s.shown.Dest)
	s.show(func(info *SessionInfo) { info.Fallback, info.Overlay = cause, transport.IsOverlay(host) })
	s.logOpen("v1", "cause", s.loggable(link.Cause).Error())
	peer.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	// Byte for byte what the client sent: its checksum was right.
	version := v1v2.AppendMessage(nil, magic, first.Type, first.Payload())
	if _, err := peer.Write(version); err != nil {
		return nil, &v1v2.EndError{Side: v1v2.Peer, Err: err}
	}
	messages.ReleaseLast() // the session may be a long one
	s.up.Bytes.Add(uint64(len(version)))
	go func() {
		if err := s.noteV1(peer, magic); err != nil {
			s.breakRelay(r, err)
			r.down <- err
			return
		}
		s.relayDown(r)
	}()
	return func() error {
		defer messages.Release()
		return s.relayUp(r)
	}, nil
}

// noteV1 reads what the peer says first and passes it on. If that is v1, the
// peer has proven to speak it.
func (s *session) noteV1(peer net.Conn, magic [4]byte) error {
	in := stream.NewReader(peer)
	s.onInterrupt(in.Interrupt)
	in.SetIdle(s.server.idleTimeout())
	if got, v1, _ := v1v2.Classify(in); v1 && got == magic {
		s.dialer.Peers.Note(s.shown.Dest, transport.SpeaksV1)
		if b, _ := in.Peek(in.Buffered()); len(b) > v1v2.HeaderSize { // of VERSION, if it is all there
			end := min(v1v2.HeaderSize+int64(binary.LittleEndian.Uint32(b[16:])), int64(len(b)))
			s.down.NoteVersion(b[v1v2.HeaderSize:end])
		}
	} // whatever else it says, or that it says nothing, is for the relay
	s.client.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	n, err := drain(s.client, in)
	s.down.Bytes.Add(uint64(n))
	return err
}

// relayUp passes on what the client says until both directions have ended.
func (s *session) relayUp(r *rawRelay) error {
	r.peer.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	n, err := drain(r.peer, s.in)
	s.up.Bytes.Add(uint64(n))
	if err == nil {
		err = r.AToB(&s.up.Bytes)
	}
	if err != nil {
		s.breakRelay(r, err)
	}
	<-r.down
	return r.cause
}

// drain writes to dst what in has read ahead.
func drain(dst net.Conn, in *stream.Reader) (int, error) {
	b, _ := in.Peek(in.Buffered())
	if len(b) == 0 {
		return 0, nil
	}
	defer in.Discard(len(b))
	return dst.Write(b)
}
