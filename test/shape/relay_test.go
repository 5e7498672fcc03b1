package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestRelay checks that the relay passes on what both ends send and the ends of the streams, and that it records how
// many bytes it has read in each direction, of its first connection only.
func TestRelay(t *testing.T) {
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	began := time.Now()
	r, err := startRelay(t.Context(), node.Addr().String(), 5*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wallet, err := net.Dial("tcp", r.addr())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := node.Accept()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, wallet, peer, 100_000)
		exchange(t, peer, wallet, 300)
		wallet.Close()
		peer.Close()
	}
	var up, down int
	var last time.Duration
	for _, s := range r.seen(began, time.Hour) {
		if s.At < last {
			t.Errorf("a segment at %v follows one at %v", s.At, last)
		}
		last = s.At
		if s.Up {
			up += s.Bytes
		} else {
			down += s.Bytes
		}
	}
	if up != 100_000 || down != 300 {
		t.Errorf("recorded %d bytes up and %d down, want 100000 and 300", up, down)
	}
	if n := len(r.seen(time.Now(), time.Hour)); n != 0 {
		t.Errorf("%d segments are later than the last one", n)
	}
}

// exchange sends n bytes and the end of the stream from one end to the other.
func exchange(t *testing.T, from, to net.Conn, n int) {
	t.Helper()
	go func() {
		from.Write(make([]byte, n)) // what is missing at the other end fails the test
		from.(*net.TCPConn).CloseWrite()
	}()
	to.SetReadDeadline(time.Now().Add(patience))
	got, err := io.Copy(io.Discard, to)
	if err != nil || got != int64(n) {
		t.Fatalf("got %d bytes, %v; want %d", got, err, n)
	}
}
