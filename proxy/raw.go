package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// rawRelay relays a session's bytes as they are: a passthrough, or v1 with a v1 peer.
type rawRelay struct {
	*stream.Relay
	peer    *stream.Socket
	opening *opening   // of the direction to the client
	down    chan error // the end of that direction

	broken sync.Once
	cause  error // given to the first breakRelay

	// hungUp is how the peer ended its stream, unless the client had ended its own
	// before. Receive from down before reading it.
	hungUp error
}

func (s *session) newRelay(peer *stream.Socket) *rawRelay {
	return &rawRelay{
		Relay:   stream.NewRelay(s.client, peer, s.server.idleTimeout()),
		peer:    peer,
		opening: newOpening(peer, min(holdFor, s.server.firstBytesTimeout()/2)),
		down:    make(chan error, 1),
	}
}

// startRelay relays to the client once it is known that the peer's first bytes are for it.
func (s *session) startRelay(peer *stream.Socket) *rawRelay {
	r := s.newRelay(peer)
	go func() {
		pass, err := r.opening.await()
		if !pass {
			r.down <- err
			return
		}
		if err == nil {
			s.endsInOrder()
		}
		s.relayDown(r, err)
	}()
	return r
}

// relayDown relays to the client until the peer's stream ends. err is how it has ended
// already, if it has.
func (s *session) relayDown(r *rawRelay, err error) {
	if err == nil {
		err = s.relayBuffered(s.client, r.opening.in, &s.down.Bytes)
	}
	if err == nil || err == io.EOF {
		err = r.BToA(&s.down.Bytes, r.opening.heard)
	}
	var op *net.OpError
	switch {
	case r.EndedFirst(s.client):
	case err == nil:
		r.hungUp = io.EOF
	case errors.As(err, &op) && op.Op == "read": // not a write to the client
		r.hungUp = err
	}
	if err != nil && !r.peer.Interrupted() {
		s.breakRelay(r, err)
	}
	r.down <- err
}

// relayUp relays to the peer until both directions have ended.
func (s *session) relayUp(r *rawRelay) error {
	err := s.relayBuffered(r.peer, s.in, &s.up.Bytes)
	if err == nil {
		err = r.AToB(&s.up.Bytes)
	}
	if err != nil {
		s.breakRelay(r, err)
	}
	<-r.down
	return r.cause
}

// relayBuffered writes to dst what in has read ahead, and counts it in n.
func (s *session) relayBuffered(dst *stream.Socket, in *stream.Reader, n *atomic.Uint64) error {
	b, _ := in.Peek(in.Buffered())
	if len(b) == 0 {
		return nil
	}
	dst.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	written, err := dst.Write(b)
	n.Add(uint64(written))
	in.Release() // the session may last for months
	return err
}

// breakRelay closes both directions because one failed. Only the first failure is the
// cause; others follow from it.
func (s *session) breakRelay(r *rawRelay, err error) {
	r.broken.Do(func() { r.cause = err })
	s.close()
}

// takeBack takes the peer's connection back from r, if not nil, because the client speaks
// v1. heard is what the peer has sent so far.
func (s *session) takeBack(r *rawRelay) (heard []byte, err error) {
	if r == nil {
		return nil, nil
	}
	if !r.opening.decide(true) { // too late: it went to the client
		r.peer.Interrupt()
		s.client.Abort()
		<-r.down
		if r.opening.hasSpoken() {
			return nil, errPeerFirst
		}
		return nil, ErrPeerClosed
	}
	err = <-r.down
	heard, _ = r.opening.in.Peek(r.opening.in.Buffered())
	heard = bytes.Clone(heard)
	r.opening.in.Release()
	if err != nil {
		return nil, ErrPeerClosed
	}
	r.peer.SetReadDeadline(time.Time{})
	s.limitFirstBytes()
	return heard, nil
}

// passThrough opens the session of a client that does not speak v1.
func (s *session) passThrough(r *rawRelay) (relay relaying, err error) {
	switch silent := s.in.Buffered() == 0; { // the client has closed its side
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
	return relayingBy(func() error {
		err := s.relayUp(r)
		received := int(s.down.Bytes.Load())
		if r.opening.hasSpoken() {
			received = max(received, 1) // the client may not have taken it
		}
		// The client may have spoken v2, and may come back with v1.
		s.dialer.NoteFailed(s.shown.Dest, r.peer, &transport.HandshakeError{
			Sent: int(s.up.Bytes.Load()), Received: received, Err: r.hungUp})
		return err
	}), nil
}

// awaitPeer passes on that the client has closed its side without sending anything, and
// waits for the peer's first bytes. Without them the client has left.
func (s *session) awaitPeer(r *rawRelay) error {
	if err := r.AToB(&s.up.Bytes); err != nil {
		s.breakRelay(r, err)
	}
	select {
	case <-r.opening.spoke:
		return nil
	case err := <-r.down:
		r.down <- err // for relayUp
		switch {
		case r.opening.hasSpoken():
			return nil
		case r.hungUp != nil:
			return ErrPeerClosed
		case isTimeout(err):
			return err
		}
		return errClientLeft
	}
}

// speakV1 opens the session between a v1 client and a v1 peer, beginning with the client's
// first message. heard is what the peer has sent on link so far.
func (s *session) speakV1(link fallback.Link, first *v1v2.Message, heard []byte) (relay relaying, err error) {
	peer := stream.NewSocket(link.V1)
	if err := s.own(peer); err != nil {
		return nil, err
	}
	r := s.newRelay(peer)
	r.opening.in.Unread(heard)
	cause, why := fallbackCause(link.Cause), link.Cause
	if s.redacts() {
		why = redact(why)
	}
	s.count(func(t *tally) { t.fallbacks[cause]++ })
	s.show(func(info *SessionInfo) { info.Fallback, info.Overlay = cause, link.Overlay })
	s.logOpen("v1", "cause", why.Error())
	peer.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	// Byte for byte what the client sent, or what Policy.Announce made of it: its checksum
	// was right.
	version := v1v2.AppendMessage(nil, s.magic, first.Type, first.Payload())
	if _, err := peer.Write(version); err != nil {
		return nil, &v1v2.EndError{Side: v1v2.PeerSide, Err: err}
	}
	s.messages.ReleaseLast() // the session may last for months
	s.up.Bytes.Add(uint64(len(version)))
	go func() {
		s.noteV1(link, r)
		s.relayDown(r, nil)
	}()
	return relayingBy(func() error { return s.relayV1(r) }), nil
}

// noteV1 looks at the peer's first bytes, and leaves them to the relay. If they are v1,
// the peer has proven to speak it.
func (s *session) noteV1(link fallback.Link, r *rawRelay) {
	in := r.opening.in
	in.SetIdle(s.server.idleTimeout())
	if got, v1, _ := v1v2.Classify(in); v1 && got == s.magic {
		s.dialer.NoteV1(s.shown.Dest, link)
		if b, _ := in.Peek(in.Buffered()); len(b) > v1v2.HeaderSize { // its VERSION, perhaps not all of it
			end := min(v1v2.HeaderSize+int64(binary.LittleEndian.Uint32(b[16:])), int64(len(b)))
			s.down.NoteVersion(b[v1v2.HeaderSize:end])
		}
	}
}
