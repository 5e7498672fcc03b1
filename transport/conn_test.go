package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/internal/testkit"
)

// edgeSizes are sizes of contents around each threshold in the code: the reader's buffer of 16 KiB,
// batches and small bodies of 32 KiB, steps of 256 KiB.
func edgeSizes() []int {
	sizes := []int{0, 1, 2, MaxContents - 1, MaxContents}
	for _, border := range []int{16 << 10, 32 << 10, 256 << 10, 512 << 10} {
		for _, around := range []int{0, lengthSize, headerSize + Tailroom, Headroom + Tailroom} {
			for d := -1; d <= 1; d++ {
				sizes = append(sizes, border-around+d)
			}
		}
	}
	return sizes
}

func TestSessionIDs(t *testing.T) {
	seen := map[[32]byte]bool{}
	for range 3 {
		a, b := testkit.TCPPair(t)
		client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
		if client.SessionID() != server.SessionID() || seen[client.SessionID()] {
			t.Errorf("got session ids %x and %x, want equal and new ones", client.SessionID(), server.SessionID())
		}
		seen[client.SessionID()] = true
		if client.NetConn() != a || server.NetConn() != b {
			t.Error("NetConn returns another connection")
		}
	}
}

// writers are all the ways to send a packet.
var writers = []struct {
	name string
	send func(c *Conn, contents []byte) error
}{
	{"WritePacket", (*Conn).WritePacket},
	{"Queue+Flush", func(c *Conn, contents []byte) error { return errors.Join(c.Queue(contents), c.Flush()) }},
	{"Queue of parts", func(c *Conn, contents []byte) error {
		i, j := len(contents)/3, len(contents)/2
		return errors.Join(c.Queue(contents[:i], nil, contents[i:j], contents[j:]), c.Flush())
	}},
	{"WriteInPlace", func(c *Conn, contents []byte) error {
		b := make([]byte, Headroom+len(contents)+Tailroom)
		copy(b[Headroom:], contents)
		return c.WriteInPlace(b)
	}},
	{"behind a decoy", func(c *Conn, contents []byte) error {
		return errors.Join(c.WriteDecoy(contents[:len(contents)/2]), c.WriteDecoy(nil), c.WritePacket(contents))
	}},
}

func TestPacketSizes(t *testing.T) {
	testkit.NoLeaks(t)
	source := testBytes(MaxContents, 1)
	for _, network := range []string{"tcp", "pipe"} {
		for _, w := range writers {
			t.Run(network+"/"+w.name, func(t *testing.T) {
				a, b := net.Pipe()
				if network == "tcp" {
					a, b = testkit.TCPPair(t)
				}
				client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
				for _, d := range []struct{ from, to *Conn }{{client, server}, {server, client}} {
					sent := make(chan error, 1)
					go func() {
						for _, n := range edgeSizes() {
							if err := w.send(d.from, source[:n]); err != nil {
								sent <- fmt.Errorf("%d bytes: %w", n, err)
								return
							}
						}
						sent <- nil
					}()
					for _, n := range edgeSizes() {
						if got, err := d.to.ReadPacket(); err != nil || !bytes.Equal(got, source[:n]) {
							t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
						}
					}
					if err := <-sent; err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(source, testBytes(MaxContents, 1)) {
					t.Fatal("sending changed the contents")
				}
			})
		}
	}
}

// In both directions at once, with any mixture of calls, everything sent is received.
func TestMixedWrites(t *testing.T) {
	testkit.NoLeaks(t)
	client, server := tcpConns(t)
	const packets = 3000
	size := func(rng *mrand.Rand) int {
		switch n := rng.IntN(100); {
		case n < 80:
			return rng.IntN(600)
		case n < 98:
			return rng.IntN(70_000)
		}
		return rng.IntN(400_000)
	}
	send := func(c *Conn, seed uint64) error {
		rng, how := mrand.New(mrand.NewPCG(seed, 1)), mrand.New(mrand.NewPCG(seed, 2))
		for i := range packets {
			contents := testBytes(size(rng), uint64(i))
			var err error
			switch how.IntN(10) {
			case 0:
				err = c.WritePacket(contents)
			case 1:
				err = writers[2].send(c, contents)
			case 2:
				err = errors.Join(c.WriteDecoy(contents), c.Queue(contents), c.Flush())
			default:
				err = c.Queue(contents)
			}
			if err != nil {
				return fmt.Errorf("packet %d: %w", i, err)
			}
		}
		return c.CloseWrite()
	}
	receive := func(c *Conn, seed uint64) error {
		rng := mrand.New(mrand.NewPCG(seed, 1))
		for i := range packets {
			want := testBytes(size(rng), uint64(i))
			got, err := c.ReadPacket()
			if err != nil || !bytes.Equal(got, want) {
				return fmt.Errorf("packet %d: %d bytes of %d, %w", i, len(got), len(want), err)
			}
		}
		if _, err := c.ReadPacket(); err != io.EOF {
			return fmt.Errorf("at the end: %w", err)
		}
		return nil
	}
	done := make(chan error)
	go func() { done <- send(client, 1) }()
	go func() { done <- send(server, 2) }()
	go func() { done <- receive(server, 1) }()
	go func() { done <- receive(client, 2) }()
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Packets of up to 32 KiB in total leave in one write. Writes are counted below Conn.
func TestBatching(t *testing.T) {
	a, b := testkit.TCPPair(t)
	w := watch(a, 0)
	client, server := connPair(t, w, b, Config{Magic: mainnet}, Config{Magic: mainnet})
	read := func(n int) {
		t.Helper()
		for range n {
			if _, err := server.ReadPacket(); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(what string, sizes ...int) {
		t.Helper()
		if fmt.Sprint(w.writes) != fmt.Sprint(sizes) {
			t.Errorf("%s: got writes of %v bytes, want %v", what, w.writes, sizes)
		}
		w.writes = nil
	}
	w.writes = nil
	ok := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		ok(client.Queue(make([]byte, 80)))
	}
	check("queued")
	ok(client.Flush())
	check("flushed", 100*100)
	ok(client.Flush())
	check("flushed again")
	read(100)

	ok(client.Queue(make([]byte, 80)), client.WritePacket(make([]byte, 180)))
	check("WritePacket", 100+200)
	ok(client.Queue(make([]byte, 80)), client.WriteDecoy(make([]byte, 180)))
	check("WriteDecoy", 100+200)
	ok(client.Queue(make([]byte, stream.BatchSize-packetSize(0)-99)), client.Queue(make([]byte, 80)), client.Queue(nil))
	check("over the batch", stream.BatchSize-99)
	ok(client.CloseWrite())
	check("CloseWrite", 100+20)
	read(2 + 1 + 3)
	if _, err := server.ReadPacket(); err != io.EOF {
		t.Error(err)
	}
}

// The initiator's handshake takes two writes, first messages included; the responder's takes one if
// the peer's key arrives whole.
func TestHandshakeWrites(t *testing.T) {
	first := [][]byte{testBytes(113, 1), testBytes(0, 1), testBytes(9000, 2)}
	a, b := net.Pipe()
	wa, wb := watch(a, 0), watch(b, 0)
	cfg := scriptConfig()
	cfg.First = first
	server := make(chan *Conn)
	go func() {
		c, _ := Server(context.Background(), wb, scriptConfig())
		for range first {
			c.ReadPacket()
		}
		server <- c
	}()
	if _, err := Client(context.Background(), wa, cfg); err != nil {
		t.Fatal(err)
	}
	<-server
	last := flightSize - helloSize + packetSize(113) + packetSize(0) + packetSize(9000)
	if want := fmt.Sprint([]int{helloSize, last}); fmt.Sprint(wa.writes) != want {
		t.Errorf("the initiator wrote %v bytes, want %v", wa.writes, want)
	}
	if want := fmt.Sprint([]int{flightSize}); fmt.Sprint(wb.writes) != want {
		t.Errorf("the responder wrote %v bytes, want %v", wb.writes, want)
	}
}

// First messages and later ones arrive in order, for either role.
func TestFirst(t *testing.T) {
	a, b := testkit.TCPPair(t)
	first := [][]byte{testBytes(10, 1), testBytes(40_000, 2)}
	client, server := connPair(t, a, b, Config{Magic: mainnet, First: first}, Config{Magic: mainnet, First: first, Decoys: []int{5}})
	for _, d := range []struct{ from, to *Conn }{{client, server}, {server, client}} {
		if err := d.from.WritePacket([]byte("next")); err != nil {
			t.Fatal(err)
		}
		for i, want := range append(first[:2:2], []byte("next")) {
			if got, err := d.to.ReadPacket(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("packet %d: %d bytes, %v", i, len(got), err)
			}
		}
	}
}

func TestTooLargeToSend(t *testing.T) {
	client, server := tcpConns(t)
	over := make([]byte, MaxContents+1)
	for _, w := range writers[:3] {
		var size *SizeError
		if err := w.send(client, over); !errors.As(err, &size) || size.Contents != len(over) || size.Error() == "" {
			t.Errorf("%s: got %v, want a *SizeError", w.name, err)
		}
	}
	// Nothing was sealed, so the session continues.
	if err := client.WritePacket([]byte("next")); err != nil {
		t.Fatal(err)
	}
	if got, err := server.ReadPacket(); err != nil || string(got) != "next" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHandshakeFaults(t *testing.T) {
	// Nothing is sent to a v1 peer.
	a, b := testkit.TCPPair(t)
	prefix := v1Prefix(mainnet)
	if _, err := a.Write(prefix[:]); err != nil {
		t.Fatal(err)
	}
	var h *HandshakeError
	if _, err := Server(context.Background(), b, Config{Magic: mainnet}); !errors.Is(err, ErrV1Peer) || !errors.As(err, &h) ||
		h.Sent != 0 || h.Received != 16 || h.HungUp() {
		t.Errorf("got %v", err)
	}
	if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("got %d bytes, %v", n, err)
	}
	// An invalid configuration sends nothing either, and closes the connection.
	a, b = testkit.TCPPair(t)
	if _, err := Client(context.Background(), b, Config{Garbage: make([]byte, 5000)}); err == nil || errors.As(err, &h) {
		t.Errorf("got %v", err)
	}
	if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

// Timeouts of an established connection; a read timeout does not end it.
func TestIdleTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		limit := time.Minute
		client, server := connPair(t, a, b, Config{Magic: mainnet, WriteTimeout: limit}, Config{Magic: mainnet, ReadTimeout: limit})
		begin := time.Now()
		_, err := server.ReadPacket()
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < limit*7/8 || took > limit {
			t.Fatalf("got %v after %v", err, took)
		}
		go client.WritePacket([]byte("late"))
		if got, err := server.ReadPacket(); err != nil || string(got) != "late" {
			t.Fatalf("got %q, %v", got, err)
		}
		synctest.Wait()

		begin = time.Now()
		err = client.WritePacket([]byte("not taken"))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < limit*7/8 || took > limit {
			t.Fatalf("got %v after %v", err, took)
		}
		for _, w := range writers {
			if again := w.send(client, []byte("more")); !errors.Is(again, ErrStalled) {
				t.Errorf("%s: got %v", w.name, again)
			}
		}
		if err := client.CloseWrite(); err != ErrStalled {
			t.Errorf("CloseWrite: %v", err)
		}
	})
}
