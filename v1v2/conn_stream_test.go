package v1v2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// connAndPeer returns a Conn over TCP and the peer's end of its v2 connection.
func connAndPeer(t testing.TB) (*Conn, *transport.Conn) {
	t.Helper()
	client, clientSide := testkit.TCPPair(t)
	peerSide, peer := testkit.TCPPair(t)
	s := handshake(t, client, clientSide, peerSide, peer)
	t.Cleanup(func() {
		s.conn.Close()
		peer.Close()
		for _, c := range []io.Closer{client, clientSide} {
			c.Close()
		}
	})
	late := time.Now().Add(5 * time.Minute) // no test relies on it
	peer.SetDeadline(late)
	s.conn.SetDeadline(late)
	return s.conn, s.peer
}

// mixture is a stream of every kind of small message, and what arrives of it.
func mixture() (stream []byte, arrives [][]byte) {
	for _, m := range []message{
		{"version", testBytes(40, 1)}, {"verack", nil}, {"ping", testBytes(8, 2)}, {"futuretype", testBytes(3, 3)},
	} {
		stream = append(stream, v1Bytes(mainnet, m.name, m.payload)...)
		stream = append(stream, badChecksum("inv", testBytes(5, 4))...)
		arrives = append(arrives, v2Bytes(m.name, m.payload))
	}
	stream = append(stream, v1Bytes(mainnet, "p\x01", nil)...)
	stream = append(stream, v1Bytes(mainnet, "pong", nil)...)
	return stream, append(arrives, v2Bytes("pong", nil))
}

func checkPackets(t *testing.T, peer *transport.Conn, want [][]byte) {
	t.Helper()
	for i := range want {
		if got, err := peer.ReadPacket(); err != nil || !bytes.Equal(got, want[i]) {
			t.Fatalf("packet %d: got %x, %v, want %x", i, got, err, want[i])
		}
	}
}

// A stream that is written in two pieces, cut anywhere, arrives whole. Write neither changes nor
// keeps what it is given.
func TestWriteCutAnywhere(t *testing.T) {
	conn, peer := connAndPeer(t)
	stream, want := mixture()
	for cut := range len(stream) + 1 {
		given := bytes.Clone(stream)
		for _, p := range [][]byte{given[:cut], given[cut:]} {
			before := bytes.Clone(p)
			if n, err := conn.Write(p); n != len(p) || err != nil {
				t.Fatalf("cut at %d: got %d, %v, want %d", cut, n, err, len(p))
			}
			if !bytes.Equal(p, before) {
				t.Fatalf("cut at %d: Write has changed its argument", cut)
			}
			clear(p)
		}
		checkPackets(t, peer, want)
	}
}

// cutter cuts a stream at random, from single bytes to all of it.
type cutter struct{ *mrand.Rand }

func newCutter(seed uint64) cutter { return cutter{mrand.New(mrand.NewPCG(seed, 7))} }

func (c cutter) next(most int) int { return min(most, 1+c.IntN(1<<c.IntN(20))) }

// Messages of every size around the thresholds arrive, however they are written: by Write or
// ReadFrom, in pieces of any size, or with the header alone.
func TestWriteSizes(t *testing.T) {
	conn, peer := connAndPeer(t)
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
	var size uint64
	for _, m := range all {
		size += uint64(24 + len(m.payload))
	}
	if got, want := conn.Sent.load(), (counted{uint64(len(all)), size, 0}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// writeAtRandom writes messages in random ways, and nothing of them more than once.
func writeAtRandom(conn *Conn, all []message) error {
	rng := newCutter(1)
	write := func(p []byte) error {
		n, err := conn.Write(p)
		if err == nil && n != len(p) {
			err = io.ErrShortWrite
		}
		clear(p)
		return err
	}
	readFrom := func(p []byte) error {
		n, err := conn.ReadFrom(&scripted{data: p, chunk: func() int { return rng.next(len(p)) }})
		if err == nil && n != int64(len(p)) {
			err = io.ErrShortWrite
		}
		return err
	}
	var raw []byte
	for i, m := range all {
		raw = append(raw, v1Bytes(mainnet, m.name, m.payload)...)
		if rng.IntN(3) == 0 && i < len(all)-1 {
			continue // several together
		}
		var err error
		switch rng.IntN(5) {
		case 0:
			err = write(raw)
		case 1:
			err = errors.Join(write(raw[:24]), write(raw[24:]))
		case 2:
			for len(raw) > 0 && err == nil {
				n := rng.next(len(raw))
				err = write(raw[:n])
				raw = raw[n:]
			}
		case 3:
			err = readFrom(raw)
		case 4: // ReadFrom goes on within a message
			n := rng.next(len(raw))
			err = errors.Join(write(raw[:n]), readFrom(raw[n:]))
		}
		if err != nil {
			return fmt.Errorf("message %d, %q of %d bytes: %w", i, m.name, len(m.payload), err)
		}
		raw = nil
	}
	return nil
}

// The peer's stream is the same by Read with any buffer, by WriteTo, and by both in turn.
func TestReadSizes(t *testing.T) {
	conn, peer := connAndPeer(t)
	all := everyMessage()
	go func() {
		for i, m := range all {
			if peer.Queue(v2Bytes(m.name, m.payload)) != nil || i%3 == 0 && peer.Flush() != nil {
				return
			}
		}
		peer.CloseWrite()
	}()
	want := make([]byte, 0, 32<<20)
	for _, m := range all {
		want = append(want, v1Bytes(mainnet, m.name, m.payload)...)
	}
	rng := newCutter(2)
	at := 0 // in want
	take := func(b []byte) {
		if at+len(b) > len(want) || !bytes.Equal(b, want[at:at+len(b)]) {
			t.Fatalf("the %d bytes read at %d differ", len(b), at)
		}
		at += len(b)
	}
	buf := make([]byte, 1<<20)
	for ended := false; !ended; {
		for range rng.IntN(20) {
			n, err := conn.Read(buf[:rng.next(len(buf))])
			take(buf[:n])
			if ended = err == io.EOF; err != nil && !ended {
				t.Fatal(err)
			}
		}
		// WriteTo, until a deadline interrupts it.
		left := rng.next(len(buf))
		n, err := conn.WriteTo(writer(func(b []byte) (int, error) {
			take(b)
			if left -= len(b); left < 0 {
				conn.SetReadDeadline(time.Unix(1, 0))
			}
			return len(b), nil
		}))
		if n == 0 && err == nil {
			ended = true
		}
		if err != nil {
			checkEnded(t, err, PeerSide, is(os.ErrDeadlineExceeded))
		}
		conn.SetReadDeadline(time.Time{})
	}
	if at != len(want) {
		t.Errorf("%d bytes arrived, want %d", at, len(want))
	}
	if got, want := conn.Received.load(), (counted{uint64(len(all)), uint64(len(want)), 0}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Read does not wait for another message if those that have arrived are to be dropped.
func TestReadBeforeDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		conn, server := connsOn(t, a, b)
		payload := testBytes(8, 1)
		go func() {
			for _, contents := range [][]byte{v2Bytes("ping", payload), {99}, {}} {
				server.peer.Queue(contents)
			}
			server.peer.Flush()
		}()
		read := make(chan []byte, 1)
		go func() {
			var buf [1000]byte
			n, _ := conn.Read(buf[:])
			read <- buf[:n]
		}()
		synctest.Wait()
		select {
		case got := <-read:
			if want := v1Bytes(mainnet, "ping", payload); !bytes.Equal(got, want) || conn.Received.Dropped() != 2 {
				t.Errorf("got %x and %d dropped, want %x and 2", got, conn.Received.Dropped(), want)
			}
		default:
			t.Error("Read waits, though a message has arrived")
		}
	})
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// A stream that is read in two pieces, cut anywhere, is whole.
func TestReadCutAnywhere(t *testing.T) {
	conn, peer := connAndPeer(t)
	var want []byte
	stream, packets := mixture()
	all, _ := parse(stream)
	for _, m := range all {
		if m.ok {
			want = append(want, m.raw...)
		}
	}
	got := make([]byte, len(want))
	for cut := range len(want) + 1 {
		for _, p := range packets {
			if err := errors.Join(peer.Queue(p), peer.WriteDecoy(p), peer.Queue([]byte{99})); err != nil {
				t.Fatal(err)
			}
		}
		clear(got)
		for _, p := range [][]byte{got[:cut], got[cut:]} {
			if _, err := io.ReadFull(conn, p); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("cut at %d: got %x, want %x", cut, got, want)
		}
	}
}
