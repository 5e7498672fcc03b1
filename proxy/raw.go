package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// rawRelay is a session in which bytes pass as they are.
type rawRelay struct {
	*stream.Relay
	peer    *stream.Socket
	opening *opening   // of the direction to the client
	down    chan error // the end of that direction

	broken sync.Once
	cause  error // why, if it did not come to its end in both directions

	// hungUp is how the peer ended its stream, if the client had not ended its
	// own. It is to be read after down has been received from.
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

// startRelay passes on what the peer says, once it is known to be the client's.
func (s *session) startRelay(peer *stream.Socket) *rawRelay {
	r := s.newRelay(peer)
	go func() {
		pass, err := r.opening.await()
		if !pass {
			r.down <- err
			return
		}
		s.relayDown(r, err)
	}()
	return r
}

// relayDown passes on what the peer says until its stream ends, or has ended with
// err.
func (s *session) relayDown(r *rawRelay, err error) {
	if err == nil {
		err = s.drainDown(r)
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

// drainDown passes on what the peer has said so far.
func (s *session) drainDown(r *rawRelay) error {
	s.client.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	n, err := drain(s.client, r.opening.in)
	s.down.Bytes.Add(uint64(n))
	return err
}

// breakRelay ends both directions because one failed. The first failure is the
// cause; those that follow from it are not.
func (s *session) breakRelay(r *rawRelay, err error) {
	r.broken.Do(func() { r.cause = err })
	s.close()
}

// takeBack takes the peer's connection back from a relay because the client speaks
// v1. heard is what the peer has said before.
func (s *session) takeBack(r *rawRelay) (heard []byte, err error) {
	if r == nil {
		return nil, nil
	}
	if !r.opening.decide(true) { // the client has got it
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
		s.dialer.NoteFailed(s.shown.Dest, r.peer, &transport.HandshakeError{
			Sent: int(s.up.Bytes.Load()), Received: s.received(r), Err: r.hungUp})
		return err
	}, nil
}

// received is how many bytes the peer has sent, at least, also if the client did not
// take them.
func (s *session) received(r *rawRelay) int {
	n := int(s.down.Bytes.Load())
	if n == 0 && r.opening.hasSpoken() {
		n = 1
	}
	return n
}

// awaitPeer passes on that the client has ended its side without a word, and waits
// for the peer's first bytes. If none come, the client had not come to listen.
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
func (s *session) speakV1(link fallback.Link, first *v1v2.Message, heard []byte) (relay func() error, err error) {
	peer := stream.NewSocket(link.V1)
	if err := s.own(peer); err != nil {
		return nil, err
	}
	r := s.newRelay(peer)
	r.opening.in.Unread(heard)
	cause := fallbackCause(link.Cause)
	s.server.count(func(t *tally) { t.fallbacks[cause]++ })
	s.show(func(info *SessionInfo) { info.Fallback, info.Overlay = cause, link.Overlay })
	s.logOpen("v1", "cause", s.redacted(link.Cause).Error())
	peer.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	// Byte for byte what the client sent: its checksum was right.
	version := v1v2.AppendMessage(nil, s.magic, first.Type, first.Payload())
	if _, err := peer.Write(version); err != nil {
		return nil, &v1v2.EndError{Side: v1v2.Peer, Err: err}
	}
	s.messages.ReleaseLast() // the session may last for months
	s.up.Bytes.Add(uint64(len(version)))
	go func() {
		s.noteV1(link, r)
		s.relayDown(r, nil)
	}()
	return func() error { return s.relayUp(r) }, nil
}

// noteV1 looks at what the peer says first. If that is v1, the peer has proven to
// speak it.
func (s *session) noteV1(link fallback.Link, r *rawRelay) {
	in := r.opening.in
	in.SetIdle(s.server.idleTimeout())
	if got, v1, _ := v1v2.Classify(in); v1 && got == s.magic {
		s.dialer.NoteV1(s.shown.Dest, link)
		if b, _ := in.Peek(in.Buffered()); len(b) > v1v2.HeaderSize { // of VERSION, if it is all there
			end := min(v1v2.HeaderSize+int64(binary.LittleEndian.Uint32(b[16:])), int64(len(b)))
			s.down.NoteVersion(b[v1v2.HeaderSize:end])
		}
	} // whatever else it says, or that it says nothing, is for the relay
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
