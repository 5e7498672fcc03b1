package v1v2

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// A side that closes its connection while it takes a block ends the loop to it, also if the
// loop reads the next message meanwhile, which never comes.
func TestLoopEndsWithinBlock(t *testing.T) {
	old := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(old)
	payload := testBytes(2_000_000, 1)
	t.Run("to the client", func(t *testing.T) {
		client, clientSide := net.Pipe() // without buffers
		peerSide, peer := testkit.TCPPair(t)
		s := start(t, client, clientSide, peerSide, peer)
		contents := v2Bytes("block", payload)
		packet := make([]byte, transport.Headroom+len(contents)+transport.Tailroom)
		copy(packet[transport.Headroom:], contents)
		if err := s.peer.WriteInPlace(packet); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, HeaderSize)); err != nil {
			t.Fatal(err)
		}
		client.Close()
		checkLoopEnd(t, <-s.downEnded, ClientSide)
	})
	t.Run("to the peer", func(t *testing.T) {
		client, clientSide := testkit.TCPPair(t)
		peerSide, peer := net.Pipe()
		s := start(t, client, clientSide, peerSide, peer)
		if _, err := client.Write(v1Bytes(mainnet, "block", payload)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, make([]byte, HeaderSize)); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		checkLoopEnd(t, <-s.upEnded, PeerSide)
	})
}

// checkLoopEnd checks that err says that a closed pipe ended a loop on that side.
func checkLoopEnd(t *testing.T, err error, side Side) {
	t.Helper()
	var end *EndError
	if !errors.As(err, &end) || end.Side != side || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the loop ended with %v", err)
	}
}
