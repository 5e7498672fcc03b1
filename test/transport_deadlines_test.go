package test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"bip324proxy/transport"

	"github.com/btcsuite/btcd/v2transport"
)

// lateConn is a socket whose deadlines keep passing, at any byte of what is read and written.
type lateConn struct {
	net.Conn
	on        bool // set after the handshake
	in, out   *rand.Rand
	late      [2]int
	readLate  bool
	writeLate bool
}

func (c *lateConn) Read(p []byte) (int, error) {
	if !c.on {
		return c.Conn.Read(p)
	}
	if c.readLate = !c.readLate; c.readLate {
		c.late[0]++
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p[:min(len(p), 1+c.in.IntN(1+len(p)/2))])
}

func (c *lateConn) Write(p []byte) (int, error) {
	if c.writeLate = !c.writeLate; !c.on || !c.writeLate {
		return c.Conn.Write(p)
	}
	c.late[1]++
	n, err := c.Conn.Write(p[:c.out.IntN(len(p)+1)/2])
	if err == nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Deadlines that pass within packets, in both directions at once, neither lose nor repeat a byte.
func TestTransportDeadlines(t *testing.T) {
	bothRoles(t, func(t *testing.T, weInitiate bool) {
		pipe, _ := net.Pipe()
		there, back := newBuffer(), newBuffer()
		late := &lateConn{Conn: &switched{pipe, both{back, there}}, in: rand.New(rand.NewPCG(1, 1)), out: rand.New(rand.NewPCG(1, 2))}
		btcd := v2transport.NewPeer()
		btcd.UseReadWriter(both{there, back})
		shaken := make(chan error, 1)
		go func() {
			var err error
			if weInitiate {
				err = btcd.RespondV2Handshake(10, mainnetBtcd)
			} else {
				err = btcd.InitiateV2Handshake(10)
			}
			if err == nil {
				err = btcd.CompleteHandshake(!weInitiate, nil, mainnetBtcd)
			}
			shaken <- err
		}()
		shake := transport.Server
		if weInitiate {
			shake = transport.Client
		}
		ours, err := shake(context.Background(), late, transport.Config{Magic: mainnetMagic, Memory: transport.NewMemory(16 << 20)})
		if other := <-shaken; err != nil || other != nil {
			t.Fatal(err, other)
		}
		late.on = true
		ours.SetDeadline(time.Now().Add(time.Hour))

		rng := rand.New(rand.NewPCG(2, 1))
		packets := make([][]byte, 500) // with two rekeys
		for i := range packets {
			n := rng.IntN(300)
			if i%20 == 0 {
				n = rng.IntN(100_000)
			}
			packets[i] = make([]byte, n)
			rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(packets[i])
		}
		done := make(chan error, 3)
		go func() { // ours to btcd
			for i, p := range packets {
				queued := ours.Queue
				if i%2 == 0 {
					queued = func(parts ...[]byte) error { return ours.WritePacket(parts[0]) }
				}
				err := queued(p)
				var pending *transport.PendingError
				for ; errors.Is(err, os.ErrDeadlineExceeded) && !errors.As(err, &pending); err = queued(p) {
				}
				if err != nil && pending == nil {
					done <- err
					return
				}
			}
			err := ours.Flush()
			for ; errors.Is(err, os.ErrDeadlineExceeded); err = ours.Flush() {
			}
			done <- err
		}()
		receive := func(read func() ([]byte, error)) error {
			for i, p := range packets {
				got, err := read()
				if err != nil || !bytes.Equal(got, p) {
					t.Errorf("packet %d: %d bytes of %d, %v", i, len(got), len(p), err)
					return err
				}
			}
			return nil
		}
		go func() { // btcd to ours
			for _, p := range packets {
				if _, _, err := btcd.V2EncPacket(p, nil, false); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		go func() {
			done <- receive(func() ([]byte, error) { return btcd.V2ReceivePacket(nil) })
		}()
		err = receive(func() ([]byte, error) {
			for {
				if got, err := ours.ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) {
					return got, err
				}
			}
		})
		for range 3 {
			err = errors.Join(err, <-done)
		}
		if err != nil {
			t.Fatal(err)
		}
		if late.late[0] < 500 || late.late[1] < 50 {
			t.Errorf("only %d reads and %d writes were late", late.late[0], late.late[1])
		}
	})
}
