package transport

import (
	"context"
	"net"
	"testing"

	"bip324proxy/internal/testkit"
)

// A handshake continues from bytes received before it: an initiator's, and a responder's, as after a
// look at what the initiator speaks.
func TestHandshakeAfterReceived(t *testing.T) {
	garbage := testBytes(300, 1)
	for role, perform := range map[string]func(context.Context, net.Conn, Config) (*Conn, error){"initiator": Client, "responder": Server} {
		for n := range KeySize + len(garbage) + 1 {
			ours, theirs := testkit.TCPPair(t)
			h, err := NewHandshake(Config{Magic: mainnet, Garbage: garbage}, role == "responder")
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
			c, err := perform(t.Context(), ours, Config{Magic: mainnet, Received: hello[:n], Garbage: []byte{}})
			if err != nil {
				t.Fatalf("%s, %d bytes before: got %v", role, n, err)
			}
			if err := <-done; err != nil {
				t.Fatalf("%s, %d bytes before: got %v", role, n, err)
			}
			c.Close()
			theirs.Close()
		}
	}
}

// respond performs the rest of a handshake whose key has been sent.
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
