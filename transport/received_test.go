package transport

import (
	"net"
	"testing"

	"bip324proxy/internal/testkit"
)

// A handshake continues from bytes received before it.
func TestHandshakeAfterReceived(t *testing.T) {
	garbage := testBytes(300, 1)
	for n := range KeySize + len(garbage) + 1 {
		ours, theirs := testkit.TCPPair(t)
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
			t.Fatalf("%d bytes before: got %v", n, err)
		}
		if err := <-done; err != nil {
			t.Fatalf("%d bytes before: got %v", n, err)
		}
		c.Close()
		theirs.Close()
	}
}

// A responder's handshake continues from bytes received before it, as after a look at what the
// initiator speaks.
func TestServerAfterReceived(t *testing.T) {
	garbage := testBytes(300, 1)
	for n := range KeySize + len(garbage) + 1 {
		ours, theirs := testkit.TCPPair(t)
		h, err := NewHandshake(Config{Magic: mainnet, Garbage: garbage}, true)
		if err != nil {
			t.Fatal(err)
		}
		hello := h.Start()
		done := make(chan error, 1)
		go func() {
			theirs.Write(hello[n:])
			_, err := respond(theirs, h)
			done <- err
		}()
		c, err := Server(t.Context(), ours, Config{Magic: mainnet, Received: hello[:n], Garbage: []byte{}})
		if err != nil {
			t.Fatalf("%d bytes before: got %v", n, err)
		}
		if err := <-done; err != nil {
			t.Fatalf("%d bytes before: got %v", n, err)
		}
		c.Close()
		theirs.Close()
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
