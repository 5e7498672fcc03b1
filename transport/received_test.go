package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// What a peer has said before the handshake counts like what it says within it.
func TestReceivedBefore(t *testing.T) {
	prefix := v1Prefix(mainnet)
	header := append(prefix[:], testBytes(v1HeaderSize-v1PrefixSize, 1)...)
	other := v1Prefix(signet)
	for _, c := range []struct {
		name     string
		received []byte
		known    Speaks
		cause    error // of v1; nil if there is none
	}{
		{"nothing, v1 known", nil, SpeaksV1, ErrKnownV1},
		{"a byte", []byte{1}, SpeaksUnknown, nil},
		{"a byte, v1 known", []byte{1}, SpeaksV1, nil},
		{"a byte, v2 refused", []byte{1}, RefusedV2, nil},
		{"part of a VERSION header", header[:23], SpeaksUnknown, nil},
		{"VERSION header", header, SpeaksUnknown, ErrV1Peer},
		{"VERSION header and more", append(header, 1, 2, 3), SpeaksV1, ErrV1Peer},
		{"VERSION header, v2 known", header, SpeaksV2, nil},
		{"another network's VERSION header", append(other[:], header[16:]...), SpeaksV1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := &endsWith{takes: 1 << 20, err: io.EOF}
			d := Dialer{
				Fallback: FallbackAlways,
				Peers:    new(Peers),
				Dial: func(context.Context, string, string) (net.Conn, error) {
					t.Error("dialled again")
					return nil, io.EOF
				},
			}
			d.Peers.Note(somePeer, c.known)
			link, err := d.Upgrade(t.Context(), first, somePeer, Config{Magic: mainnet, Received: c.received})
			if c.cause != nil {
				if link.V1 != net.Conn(first) || link.Cause != c.cause || err != nil {
					t.Errorf("%+v, %v", link, err)
				}
				return
			}
			var failed *HandshakeError
			if !errors.As(err, &failed) || failed.Received != len(c.received) && !errors.Is(failed, ErrV1OtherNetwork) {
				t.Errorf("%+v, %v", link, err)
			}
		})
	}
}

// A handshake goes on from what was received before.
func TestHandshakeAfterReceived(t *testing.T) {
	garbage := testBytes(300, 1)
	for n := range KeySize + len(garbage) + 1 {
		ours, theirs := tcpPair(t)
		h, err := NewHandshake(Config{Magic: mainnet, Garbage: garbage}, false)
		if err != nil {
			t.Fatal(err)
		}
		hello := h.start() // before it has read anything
		done := make(chan error, 1)
		go func() {
			theirs.Write(hello[n:])
			_, err := respond(theirs, h)
			done <- err
		}()
		c, err := Client(t.Context(), ours, Config{Magic: mainnet, Received: hello[:n], Garbage: []byte{}})
		if err != nil {
			t.Fatalf("%d bytes before: %v", n, err)
		}
		if err := <-done; err != nil {
			t.Fatalf("%d bytes before: %v", n, err)
		}
		c.Close()
		theirs.Close()
	}
}

// respond is the responder's half of a handshake of which it has sent the key.
func respond(nc net.Conn, h *Handshake) (*Session, error) {
	b := make([]byte, 8192)
	for h.Stage() < StageDone {
		n, err := nc.Read(b)
		if err != nil {
			return nil, err
		}
		_, send, err := h.Receive(b[:n])
		if err != nil {
			return nil, err
		}
		if _, err := nc.Write(send); err != nil {
			return nil, err
		}
	}
	return h.Session(), nil
}
