package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"bip324proxy/internal/stream"
	"bip324proxy/v1v2"
)

// newMessages returns a Reader of what our side of the session, the client or the node,
// sends to the peer, with what Policy.Announce alters.
func (s *session) newMessages() *v1v2.Reader {
	messages := v1v2.NewReader(s.in, s.magic)
	if len(s.policy.Announce) > 0 {
		messages.Alter = s.policy.Announce.Alter
	}
	return messages
}

// relayV1 is relayUp between two sides that speak v1, with what Policy.Announce alters.
func (s *session) relayV1(r *rawRelay) error {
	if len(s.policy.Announce) > 0 {
		if err := s.relayMessages(r.peer); err != nil {
			s.breakRelay(r, err)
		}
	}
	return s.relayUp(r)
}

// relayMessages relays messages of our side to a v1 peer, altered where Policy.Announce
// concerns them, or else byte for byte as they arrive, be they valid or not. It returns nil
// where the stream ends, or where it is not v1 any more: then the rest needs no messages.
func (s *session) relayMessages(peer *stream.Socket) error {
	out := stream.NewWriter(peer)
	out.SetStall(s.server.idleTimeout())
	for {
		if err := s.flushBefore(out, v1v2.HeaderSize); err != nil {
			return err
		}
		head, err := s.in.Peek(v1v2.HeaderSize)
		if err == nil {
			t, size := v1v2.Type(head[4:]), binary.LittleEndian.Uint32(head[16:])
			switch {
			case [4]byte(head) != s.magic || size > v1v2.MaxPayload:
				return out.Flush()
			case s.policy.Announce.Concerns(t, int(size)):
				err = s.relayConcerned(out, t, v1v2.HeaderSize+int(size))
			default:
				err = s.relayUnread(out, v1v2.HeaderSize+int(size))
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) || err == io.ErrUnexpectedEOF {
				return out.Flush()
			}
			return err
		}
	}
}

// relayConcerned relays a message of size bytes that Policy.Announce concerns.
func (s *session) relayConcerned(out *stream.Writer, t v1v2.Type, size int) error {
	if err := s.flushBefore(out, size); err != nil {
		return err
	}
	var arrived bytes.Buffer // grows with the message: a header alone costs nothing
	_, err := io.CopyN(&arrived, s.in, int64(size))
	message := arrived.Bytes()
	if err == nil {
		message = s.announceIn(message, t)
	}
	s.up.Bytes.Add(uint64(len(message)))
	if _, failed := out.Write(message); failed != nil {
		return failed
	}
	return err
}

// announceIn returns a v1 message as Policy.Announce alters it. One with a wrong checksum,
// which the peer will ignore, stays as it is.
func (s *session) announceIn(message []byte, t v1v2.Type) []byte {
	payload := message[v1v2.HeaderSize:]
	altered := s.policy.Announce.Alter(t, payload)
	if altered == nil || !bytes.Equal(message, v1v2.AppendMessage(nil, s.magic, t, payload)) {
		return message
	}
	return v1v2.AppendMessage(nil, s.magic, t, altered)
}

// relayUnread relays the next n bytes as they arrive.
func (s *session) relayUnread(out *stream.Writer, n int) error {
	for n > 0 {
		if err := s.flushBefore(out, 1); err != nil {
			return err
		}
		if _, err := s.in.Peek(1); err != nil {
			return err
		}
		b, _ := s.in.Peek(min(n, s.in.Buffered()))
		if _, err := out.Write(b); err != nil {
			return err
		}
		s.up.Bytes.Add(uint64(len(b)))
		s.in.Discard(len(b))
		n -= len(b)
	}
	return nil
}

// flushBefore flushes out if reading n bytes has to wait for our side.
func (s *session) flushBefore(out *stream.Writer, n int) error {
	if s.in.Buffered() >= n {
		return nil
	}
	return out.Flush()
}
