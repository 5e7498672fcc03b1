package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"bip324proxy/transport"

	"github.com/btcsuite/btcd/v2transport"
)

// Compare with: go test -run '^$' -bench Transport -count 10 | benchstat -col /impl -

var packetSizes = []int{37, 500, 16_384, 1_500_000}

// buffer is one direction between two goroutines, unbounded.
type buffer struct {
	mu   sync.Mutex
	cond sync.Cond
	data bytes.Buffer
}

func newBuffer() *buffer {
	b := new(buffer)
	b.cond.L = &b.mu
	return b
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cond.Broadcast()
	return b.data.Write(p)
}

func (b *buffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.data.Len() == 0 {
		b.cond.Wait()
	}
	return b.data.Read(p)
}

// both joins the two directions of a connection.
type both struct {
	io.Reader
	io.Writer
}

// btcdPeers performs a handshake between two of btcd's peers, in memory.
func btcdPeers(tb testing.TB) (initiator, responder *v2transport.Peer) {
	initiator, responder = v2transport.NewPeer(), v2transport.NewPeer()
	there, back := newBuffer(), newBuffer()
	initiator.UseReadWriter(both{back, there})
	responder.UseReadWriter(both{there, back})
	done := make(chan error, 1)
	go func() {
		err := responder.RespondV2Handshake(100, mainnetBtcd)
		if err == nil {
			err = responder.CompleteHandshake(false, nil, mainnetBtcd)
		}
		done <- err
	}()
	err := initiator.InitiateV2Handshake(100)
	if err == nil {
		err = initiator.CompleteHandshake(true, nil, mainnetBtcd)
	}
	if other := <-done; err != nil || other != nil {
		tb.Fatal(err, other)
	}
	return initiator, responder
}

// BenchmarkTransportHandshake measures both sides of a handshake.
func BenchmarkTransportHandshake(b *testing.B) {
	b.Run("impl=ours", func(b *testing.B) {
		cfg := transport.Config{Magic: mainnetMagic, Garbage: make([]byte, 100)}
		b.ReportAllocs()
		for b.Loop() {
			x, err := transport.NewHandshake(cfg, true)
			if err != nil {
				b.Fatal(err)
			}
			y, err := transport.NewHandshake(cfg, false)
			if err != nil {
				b.Fatal(err)
			}
			_, send, _ := y.Receive(x.Start())
			_, send, _ = x.Receive(send)
			if _, _, err = y.Receive(send); err != nil || x.Stage() != transport.StageDone || y.Stage() != transport.StageDone {
				b.Fatal(err)
			}
		}
	})
	b.Run("impl=btcd", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			btcdPeers(b)
		}
	})
}

// oneWay is a socket that discards writes and replays its input.
type oneWay struct {
	net.Conn
	in bytes.Buffer
}

func (o *oneWay) Write(p []byte) (int, error) { return len(p), nil }
func (o *oneWay) Read(p []byte) (int, error)  { return o.in.Read(p) }

// switched is a socket whose other side a test can replace.
type switched struct {
	net.Conn
	rw io.ReadWriter
}

func (s *switched) Write(p []byte) (int, error) { return s.rw.Write(p) }
func (s *switched) Read(p []byte) (int, error)  { return s.rw.Read(p) }

// ourConns performs a handshake between two of our connections, over a pipe.
func ourConns(tb testing.TB) (client *transport.Conn, clientSide *switched, server *transport.Conn, serverSide *switched) {
	a, b := net.Pipe()
	clientSide, serverSide = &switched{a, a}, &switched{b, b}
	cfg := transport.Config{Magic: mainnetMagic, Garbage: []byte{}, Memory: transport.NewMemory(16 << 20)}
	done := make(chan error, 1)
	var err error
	go func() {
		var err error
		server, err = transport.Server(context.Background(), serverSide, cfg)
		done <- err
	}()
	client, err = transport.Client(context.Background(), clientSide, cfg)
	if other := <-done; err != nil || other != nil {
		tb.Fatal(err, other)
	}
	return client, clientSide, server, serverSide
}

// BenchmarkTransportSeal seals and sends to a socket at no cost.
func BenchmarkTransportSeal(b *testing.B) {
	for _, n := range packetSizes {
		b.Run(fmt.Sprintf("size=%d/impl=ours", n), func(b *testing.B) {
			client, side, _, _ := ourConns(b)
			side.rw = &oneWay{}
			buf := make([]byte, transport.Headroom+n+transport.Tailroom)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if err := client.WriteInPlace(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("size=%d/impl=btcd", n), func(b *testing.B) {
			peer, _ := btcdPeers(b)
			peer.UseReadWriter(&oneWay{})
			contents := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := peer.V2EncPacket(contents, nil, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTransportOpen receives packets that were sealed while the timer was stopped.
func BenchmarkTransportOpen(b *testing.B) {
	for _, n := range packetSizes {
		contents := make([]byte, n)
		batch := max(1, min(500, 4<<20/(n+20)))
		b.Run(fmt.Sprintf("size=%d/impl=ours", n), func(b *testing.B) {
			client, side, server, other := ourConns(b)
			var in bytes.Buffer
			side.rw, other.rw = &in, &in
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%batch == 0 {
					b.StopTimer()
					for range batch {
						if err := client.WritePacket(contents); err != nil {
							b.Fatal(err)
						}
					}
					b.StartTimer()
				}
				if _, err := server.ReadPacket(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("size=%d/impl=btcd", n), func(b *testing.B) {
			initiator, responder := btcdPeers(b)
			var in bytes.Buffer
			initiator.UseReadWriter(&in)
			responder.UseReadWriter(&in)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%batch == 0 {
					b.StopTimer()
					for range batch {
						if _, _, err := initiator.V2EncPacket(contents, nil, false); err != nil {
							b.Fatal(err)
						}
					}
					b.StartTimer()
				}
				if _, err := responder.V2ReceivePacket(nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
