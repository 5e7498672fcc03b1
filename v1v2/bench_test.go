package v1v2

import (
	"errors"
	"io"
	"net"
	"testing"

	"bip324proxy/internal/testkit"
)

var loads = []struct {
	name string
	message
}{
	{"inv37", message{"inv", testBytes(37, 1)}},
	{"block1.5MB", message{"block", testBytes(1_500_000, 1)}},
}

// discard reads n bytes.
func discard(c net.Conn, n int) error {
	b := make([]byte, 256<<10)
	for n > 0 {
		k, err := c.Read(b[:min(n, len(b))])
		if err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// benchSockets returns a session over TCP whose loops are not running.
func benchSockets(b *testing.B) (s *session, clientSide, peerEnd net.Conn) {
	client, clientSide := testkit.TCPPair(b)
	peerSide, peer := testkit.TCPPair(b)
	s = handshake(b, client, clientSide, peerSide, peer)
	b.Cleanup(func() {
		for _, c := range []net.Conn{client, clientSide, peerSide, peer} {
			c.Close()
		}
	})
	return s, clientSide, peer
}

// BenchmarkToPeer measures one direction, from a client that writes as fast as it can to a peer
// that does not decrypt.
func BenchmarkToPeer(b *testing.B) {
	for _, load := range loads {
		b.Run(load.name, func(b *testing.B) {
			s, _, peerEnd := benchSockets(b)
			raw := v1Bytes(mainnet, load.message.name, load.payload)
			var batch []byte
			for len(batch) < 32<<10 {
				batch = append(batch, raw...)
			}
			packet := len(v2Bytes(load.message.name, load.payload)) + 20
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for left := b.N * len(raw); left > 0; {
					n, err := s.client.Write(batch[:min(left, len(batch))])
					if err != nil {
						return
					}
					left -= n
				}
				s.client.(*net.TCPConn).CloseWrite()
			}()
			done := make(chan error, 1)
			go func() { done <- discard(peerEnd, b.N*packet) }()
			err := s.toPeer()
			if got := <-done; got != nil || !errors.Is(err, io.EOF) {
				b.Fatal(err, got)
			}
		})
	}
}

// BenchmarkToClient measures the other direction, from a peer that encrypts as fast as it can.
func BenchmarkToClient(b *testing.B) {
	for _, load := range loads {
		b.Run(load.name, func(b *testing.B) {
			s, clientSide, _ := benchSockets(b)
			contents := v2Bytes(load.message.name, load.payload)
			size := len(v1Bytes(mainnet, load.message.name, load.payload))
			scratch := make([]byte, 4+len(contents)+16) // WriteInPlace encrypts it repeatedly
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for range b.N {
					var err error
					if len(contents) < 1000 {
						err = s.peer.Queue(contents)
					} else {
						copy(scratch[4:], contents)
						err = s.peer.WriteInPlace(scratch)
					}
					if err != nil {
						return
					}
				}
				s.peer.CloseWrite()
			}()
			done := make(chan error, 1)
			go func() { done <- discard(s.client, b.N*size) }()
			err := s.toClient(clientSide)
			if got := <-done; got != nil || !errors.Is(err, io.EOF) {
				b.Fatal(err, got)
			}
		})
	}
}
