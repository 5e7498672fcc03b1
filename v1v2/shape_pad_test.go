package v1v2

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// paddedConn returns a Conn whose writes are filled up and noted, and the other end.
func paddedConn(t *testing.T) (conn *Conn, peer *transport.Conn, noted *sizesConn) {
	t.Helper()
	a, b := testkit.TCPPair(t)
	noted = &sizesConn{Conn: a}
	failed := make(chan error, 1)
	go func() {
		var err error
		peer, err = transport.Server(context.Background(), b, transport.Config{Magic: mainnet})
		failed <- err
	}()
	conn, err := Client(context.Background(), noted, transport.Config{
		Magic:  mainnet,
		Memory: transport.NewMemory(16 << 20),
		Shape:  transport.Shape{Mode: transport.ShapePad},
	})
	if other := <-failed; err != nil || other != nil {
		t.Fatalf("handshake: got %v, %v", err, other)
	}
	t.Cleanup(func() { conn.Close(); peer.Close() })
	late := time.Now().Add(5 * time.Minute) // no test relies on it
	peer.SetDeadline(late)
	conn.SetDeadline(late)
	noted.take()
	return conn, peer, noted
}

// checkPadded checks that writes were filled up, all of them.
func checkPadded(t *testing.T, writes []int) {
	t.Helper()
	if len(writes) == 0 {
		t.Error("nothing was written")
	}
	for i, n := range writes {
		if small := n >= 1<<10 && n&(n-1) == 0; !small && n%(16<<10) != 0 || n == 0 {
			t.Errorf("write %d of %d: %d bytes", i, len(writes), n)
		}
	}
}

// Messages of all types and sizes arrive unaltered and in order, however they are written, and all
// writes have sizes of pad.
func TestConnPads(t *testing.T) {
	conn, peer, noted := paddedConn(t)
	all := everyMessage()
	sent := make(chan error, 1)
	go func() { sent <- writeAtRandom(conn, all) }()
	for i, m := range all {
		if got, err := peer.ReadPacket(); err != nil || !bytes.Equal(got, v2Bytes(m.name, m.payload)) {
			t.Fatalf("message %d, %q of %d bytes: got contents of %d bytes, %v", i, m.name, len(m.payload), len(got), err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	checkPadded(t, noted.take())
	if s := conn.Shaping(); s.Mode != transport.ShapePad || s.SentFiller == 0 {
		t.Errorf("%+v", s)
	}
}

// Messages that arrive together leave together, in a write that is filled up once. A Reader reads
// little at first, so ReadFrom makes two writes.
func TestConnPadsTogether(t *testing.T) {
	conn, peer, noted := paddedConn(t)
	const n = 20
	var raw []byte
	for range n {
		raw = append(raw, v1Bytes(mainnet, "inv", testBytes(37, 1))...)
	}
	for name, c := range map[string]struct {
		send func() error
		want []int
	}{
		"Write":    {func() error { _, err := conn.Write(raw); return err }, []int{2048}}, // 20 packets of 58 bytes
		"ReadFrom": {func() error { _, err := conn.ReadFrom(bytes.NewReader(raw)); return err }, []int{1024, 1024}},
	} {
		if err := c.send(); err != nil {
			t.Fatal(err)
		}
		for range n {
			if got, err := peer.ReadPacket(); err != nil || !bytes.Equal(got, v2Bytes("inv", testBytes(37, 1))) {
				t.Fatalf("%s: got %x, %v", name, got, err)
			}
		}
		if got := noted.take(); !slices.Equal(got, c.want) {
			t.Errorf("%s: writes of %v bytes, want %v", name, got, c.want)
		}
	}
}

// shortConn takes a part of most writes, and then fails as if a deadline had passed.
type shortConn struct {
	net.Conn
	cutter
	on    bool
	short int // how often it did
}

func (c *shortConn) Write(p []byte) (int, error) {
	if !c.on || c.IntN(4) == 0 {
		return c.Conn.Write(p)
	}
	c.short++
	n, err := c.Conn.Write(p[:c.IntN(len(p))])
	if err == nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Deadlines within messages and filler lose and alter nothing: Write goes on where it was.
func TestConnPadsAfterDeadlines(t *testing.T) {
	conn, peer, noted := paddedConn(t)
	short := &shortConn{Conn: noted.Conn, cutter: newCutter(1), on: true}
	noted.Conn = short
	var sizes []int
	for _, n := range edgeSizes() {
		if n < 600_000 {
			sizes = append(sizes, n, 8)
		}
	}
	sent := make(chan error, 1)
	go func() {
		sent <- func() error {
			for i, n := range sizes {
				for rest := v1Bytes(mainnet, "block", testBytes(n, uint64(i))); len(rest) > 0; {
					n, err := conn.Write(rest)
					if rest = rest[n:]; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						return err
					}
				}
			}
			for {
				if _, err := conn.Write(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
					return err
				}
			}
		}()
	}()
	for i, n := range sizes {
		if got, err := peer.ReadPacket(); err != nil || !bytes.Equal(got, v2Bytes("block", testBytes(n, uint64(i)))) {
			t.Fatalf("message %d of %d bytes: got %d, %v", i, n, len(got), err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if short.short == 0 {
		t.Error("there were no deadlines")
	}
}
