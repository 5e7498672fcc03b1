package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"

	"github.com/btcsuite/btcd/v2transport"
)

// writesConn notes the sizes of writes.
type writesConn struct {
	net.Conn
	sizes []int
}

func (c *writesConn) Write(p []byte) (int, error) {
	c.sizes = append(c.sizes, len(p))
	return c.Conn.Write(p)
}

// btcd's transport, which knows nothing of shapes, gets what is sent with filler in either role: all packets, unaltered
// and in order, over several keys. All writes after the first have sizes of the mode.
func TestShapePadWithBtcd(t *testing.T) {
	t.Parallel()
	var sizes []int
	for i := range 700 {
		sizes = append(sizes, i%300)
	}
	for _, bucket := range []int{1 << 10, 4 << 10, 16 << 10, 32 << 10, 256 << 10} {
		for gap := range 60 {
			sizes = append(sizes, bucket-gap, 30)
		}
	}
	sizes = append(sizes, 1_500_000, 9, transport.MaxContents, 9)
	contents := testkit.RandomBytes(transport.MaxContents, 1)

	for role, perform := range map[string]func(context.Context, net.Conn, transport.Config) (*transport.Conn, error){
		"initiator": transport.Client, "responder": transport.Server,
	} {
		t.Run(role, func(t *testing.T) {
			ours, theirs := testkit.TCPPair(t)
			for _, nc := range []net.Conn{ours, theirs} {
				nc.SetDeadline(time.Now().Add(patience))
			}
			done := make(chan error, 1)
			go func() { done <- btcdReceives(theirs, role == "responder", contents, sizes) }()

			writes := &writesConn{Conn: ours}
			cfg := transport.Config{
				Magic:   mainnetMagic,
				Garbage: make([]byte, 1000), // at random it could be one byte more than btcd accepts
				First:   [][]byte{contents[:sizes[0]]},
				Shape:   transport.Shape{Mode: transport.ShapePad},
			}
			c, err := perform(t.Context(), writes, cfg)
			if err != nil {
				t.Fatalf("%v; btcd: %v", err, <-done)
			}
			defer c.Close()
			for i, n := range sizes[1:] {
				var err error
				switch i % 3 {
				case 0:
					err = c.WritePacket(contents[:n])
				case 1:
					err = c.Queue(contents[:n/2], contents[n/2:n])
				case 2:
					b := slices.Concat(make([]byte, transport.Headroom), contents[:n], make([]byte, transport.Tailroom))
					err = c.WriteInPlace(b)
				}
				if err != nil {
					t.Fatalf("packet %d of %d bytes: %v; btcd: %v", i, n, err, <-done)
				}
			}
			if err := errors.Join(c.Flush(), <-done); err != nil {
				t.Fatal(err)
			}
			if got, err := c.ReadPacket(); err != nil || string(got) != "thanks" {
				t.Errorf("btcd answers %q, %v", got, err)
			}
			for i, n := range writes.sizes[1:] {
				if n < 1<<10 || n&(n-1) != 0 && n%(16<<10) != 0 {
					t.Errorf("write %d: %d bytes", i+1, n)
				}
			}
		})
	}
}

// btcdReceives is the end of a connection with btcd's transport that receives packets, and thanks for them among decoys.
func btcdReceives(nc net.Conn, initiates bool, contents []byte, sizes []int) error {
	p := v2transport.NewPeer()
	p.UseReadWriter(nc)
	var err error
	if initiates {
		err = p.InitiateV2Handshake(100)
	} else {
		err = p.RespondV2Handshake(100, mainnetBtcd)
	}
	if err == nil {
		err = p.CompleteHandshake(initiates, nil, mainnetBtcd)
	}
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	for i, n := range sizes {
		if got, err := p.V2ReceivePacket(nil); err != nil || !bytes.Equal(got, contents[:n]) {
			return fmt.Errorf("packet %d: got %d bytes, %v, want %d", i, len(got), err, n)
		}
	}
	for range 300 {
		if _, _, err := p.V2EncPacket(make([]byte, 500), nil, true); err != nil {
			return err
		}
	}
	_, _, err = p.V2EncPacket([]byte("thanks"), nil, false)
	return err
}
