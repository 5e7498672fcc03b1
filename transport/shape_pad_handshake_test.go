package transport

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"bip324proxy/internal/testkit"
)

// Both roles fill each write after the first: the initiator's second has its first messages, and a
// responder has a second one in the handshake if the peer's key came in pieces.
func TestPadHandshake(t *testing.T) {
	type writes []int
	pad := func(cfg Config) Config { cfg.Shape = Shape{Mode: ShapePad}; return cfg }
	version, first := terminatorSize+packetSize(0), testBytes(113, 1)
	for _, c := range []struct {
		name      string
		initiator Config
		responder Config
		pieces    bool
		want      [2]writes
	}{
		{"version packets", pad(scriptConfig()), pad(scriptConfig()), false, [2]writes{{helloSize, 1024}, {flightSize}}},
		{"key in pieces", scriptConfig(), pad(scriptConfig()), true, [2]writes{{helloSize, version}, {helloSize, 1024}}},
		{"first messages", pad(Config{Magic: mainnet, Garbage: []byte{}, First: [][]byte{first, nil}}), scriptConfig(), false,
			[2]writes{{KeySize, 1024}, {flightSize}}},
		{"a large first message", pad(Config{Magic: mainnet, Garbage: []byte{}, First: [][]byte{testBytes(40_000, 1)}}), scriptConfig(), false,
			[2]writes{{KeySize, 48 << 10}, {flightSize}}},
		{"decoys", pad(Config{Magic: mainnet, Garbage: []byte{}, Decoys: []int{990, 0}}), pad(Config{Magic: mainnet, Garbage: []byte{}, Decoys: []int{1500}}), true,
			[2]writes{{KeySize, 2048}, {KeySize, 2048}}},
		{"a gap that is too small", pad(Config{Magic: mainnet, Garbage: []byte{}, Decoys: []int{1024 - version - packetSize(0) - 19}}), scriptConfig(), false,
			[2]writes{{KeySize, 2048}, {flightSize}}},
		{"no gap", pad(Config{Magic: mainnet, Garbage: []byte{}, Decoys: []int{1024 - version - packetSize(0)}}), scriptConfig(), false,
			[2]writes{{KeySize, 1024}, {flightSize}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := testkit.TCPPair(t)
			up, down := watch(a, 0), watch(b, 0)
			var nc net.Conn = down
			if c.pieces {
				nc = keyInPieces{down}
			}
			client, server := connPair(t, up, nc, c.initiator, c.responder)
			for i, w := range []*watched{up, down} {
				if !slices.Equal(w.writes, c.want[i]) {
					t.Errorf("side %d: writes of %v bytes, want %v", i, w.writes, c.want[i])
				}
			}
			conns := [2]*Conn{client, server}
			var received [2][][]byte
			var readers sync.WaitGroup
			for i, c := range conns {
				readers.Go(func() {
					for p, err := c.ReadPacket(); err == nil; p, err = c.ReadPacket() {
						received[i] = append(received[i], bytes.Clone(p))
					}
				})
			}
			for _, conn := range conns {
				if err := conn.WritePacket([]byte("last")); err != nil {
					t.Fatal(err)
				}
			}
			for _, nc := range []net.Conn{a, b} {
				nc.(*net.TCPConn).CloseWrite()
			}
			readers.Wait()
			for i, first := range [][][]byte{nil, c.initiator.First} {
				if want := append(slices.Clone(first), []byte("last")); !slices.EqualFunc(received[i], want, bytes.Equal) {
					t.Errorf("side %d received %d packets, want %d", i, len(received[i]), len(want))
				}
				sent, got := conns[1-i].Shaping(), conns[i].Shaping()
				if sent.Mode == ShapePad && sent.SentFiller == 0 || sent.SentFiller != got.ReceivedFiller {
					t.Errorf("side %d received %d bytes of filler, %d were sent", i, got.ReceivedFiller, sent.SentFiller)
				}
			}
		})
	}
}

// keyInPieces reads the first bytes one by one.
type keyInPieces struct{ *watched }

func (k keyInPieces) Read(p []byte) (int, error) {
	if k.read < KeySize {
		p = p[:1]
	}
	return k.watched.Read(p)
}

// What a responder received before is not sent again, and leaves its writes as they are.
func TestPadAfterReceived(t *testing.T) {
	a, b := net.Pipe()
	h, err := NewHandshake(scriptConfig(), true)
	if err != nil {
		t.Fatal(err)
	}
	hello := h.Start()
	done := make(chan error, 1)
	go func() {
		_, err := respond(a, h)
		done <- err
	}()
	w := watch(b, 0)
	c, err := Server(context.Background(), w, Config{Magic: mainnet, Garbage: []byte{}, Received: hello, Shape: Shape{Mode: ShapePad}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, a)
	if err := c.WritePacket([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if want := []int{flightSize - scriptGarbage, 1024}; !slices.Equal(w.writes, want) {
		t.Errorf("writes of %v bytes, want %v", w.writes, want)
	}
}
