package v1v2

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

var mainnet = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}

var (
	v1Bytes   = testkit.V1Message
	testBytes = testkit.RandomBytes
)

// v2Bytes returns a message as the contents of a v2 packet, encoded without the code under test.
func v2Bytes(name string, payload []byte) []byte {
	if id, ok := bipIDs[name]; ok {
		return append([]byte{id}, payload...)
	}
	return append([]byte("\x00"+padded(name)), payload...)
}

// padded returns name, NUL-padded to 12 bytes as on the wire.
func padded(name string) string { return name + strings.Repeat("\x00", 12-len(name)) }

// badChecksum returns a v1 message with one flipped bit.
func badChecksum(name string, payload []byte) []byte {
	b := v1Bytes(mainnet, name, payload)
	b[len(b)-1] ^= 1
	return b
}

// edgeSizes are sizes of payloads around each threshold in the code, for both framings: the
// readers' buffers of 16 KiB, batches and small bodies of 32 KiB, steps of 256 KiB, and the
// largest.
func edgeSizes() []int {
	sizes := []int{0, 1, 2, MaxPayload - 1, MaxPayload}
	frames := []int{
		0,
		HeaderSize, HeaderSize + transport.Tailroom, // v1, and with room for a tag
		2 + transport.Tailroom, 14 + transport.Tailroom, // v2 after the length, short and long
		1 + transport.Headroom + transport.Tailroom, 13 + transport.Headroom + transport.Tailroom,
	}
	for _, border := range []int{16 << 10, 32 << 10, 256 << 10, 512 << 10} {
		for _, frame := range frames {
			for d := -1; d <= 1; d++ {
				sizes = append(sizes, border-frame+d)
			}
		}
	}
	return sizes
}

// scripted is a socket from which data arrives in given chunks. After the last one Read returns
// end, or io.EOF.
type scripted struct {
	net.Conn
	data  []byte
	chunk func() int
	end   error
	reads int
}

func (s *scripted) Read(p []byte) (int, error) {
	s.reads++
	if len(s.data) == 0 {
		if s.end != nil {
			return 0, s.end
		}
		return 0, io.EOF
	}
	n := len(s.data)
	if s.chunk != nil {
		n = min(n, s.chunk())
	}
	n = copy(p, s.data[:n])
	s.data = s.data[n:]
	return n, nil
}

// reader returns a Reader of data, which arrives in chunks.
func reader(data []byte, chunk func() int) *Reader {
	return NewReader(stream.NewReader(&scripted{data: data, chunk: chunk}), mainnet)
}

func every(n int) func() int { return func() int { return n } }

// session is the two loops at work:
//
//	client ──v1── clientSide │ ReadFrom, WriteTo │ peerSide ──v2── peer
type session struct {
	client             net.Conn        // the client's socket
	peer               *transport.Conn // the peer's end of the v2 connection
	clientSide         *stream.Reader
	peerSide           *transport.Conn
	conn               *Conn // on peerSide
	up, down           Counts
	upEnded, downEnded chan error // closed after the error
}

// start begins a session between four sockets, and ends it with the test.
func start(t testing.TB, client, clientSide, peerSide, peer net.Conn) *session {
	t.Helper()
	s := handshake(t, client, clientSide, peerSide, peer)
	s.run(clientSide)
	t.Cleanup(func() {
		for _, c := range []net.Conn{client, clientSide, peerSide, peer} {
			c.Close()
		}
		for range s.upEnded {
		}
		for range s.downEnded {
		}
	})
	return s
}

// run starts the loops.
func (s *session) run(clientSide net.Conn) {
	go func() {
		defer close(s.upEnded)
		s.upEnded <- s.toPeer()
	}()
	go func() {
		defer close(s.downEnded)
		s.downEnded <- s.toClient(clientSide)
	}()
}

// toPeer is the loop to the peer.
func (s *session) toPeer() error {
	if _, err := s.conn.ReadFrom(NewReader(s.clientSide, mainnet)); err != nil {
		return err
	}
	return &EndError{ClientSide, io.EOF}
}

// toClient is the loop to the client.
func (s *session) toClient(clientSide net.Conn) error {
	if _, err := s.conn.WriteTo(clientSide); err != nil {
		return err
	}
	return &EndError{PeerSide, io.EOF}
}

// handshake is start without the loops.
func handshake(t testing.TB, client, clientSide, peerSide, peer net.Conn) *session {
	t.Helper()
	s := &session{client: client, clientSide: stream.NewReader(clientSide), upEnded: make(chan error, 1), downEnded: make(chan error, 1)}
	memory := transport.NewMemory(32 << 20)
	s.clientSide.SetMemory((*stream.Memory)(memory))
	failed := make(chan error, 1)
	go func() {
		var err error
		s.peer, err = transport.Server(context.Background(), peer, transport.Config{Magic: mainnet})
		failed <- err
	}()
	var err error
	s.peerSide, err = transport.Client(context.Background(), peerSide, transport.Config{Magic: mainnet, Memory: memory})
	if other := <-failed; err != nil || other != nil {
		t.Fatalf("handshake: got %v, %v", err, other)
	}
	s.conn = NewConn(s.peerSide, mainnet)
	s.conn.Sent, s.conn.Received = &s.up, &s.down
	return s
}

// overTCP starts a session over TCP. Its deadline is an upper bound that no test relies on.
func overTCP(t testing.TB) *session {
	t.Helper()
	client, clientSide := testkit.TCPPair(t)
	peerSide, peer := testkit.TCPPair(t)
	s := start(t, client, clientSide, peerSide, peer)
	late := time.Now().Add(5 * time.Minute)
	client.SetDeadline(late)
	peer.SetDeadline(late)
	return s
}

// counted has the numbers of one direction's Counts.
type counted struct{ messages, bytes, dropped uint64 }

func (c *Counts) load() counted {
	return counted{c.Messages.Load(), c.Bytes.Load(), c.Dropped()}
}
