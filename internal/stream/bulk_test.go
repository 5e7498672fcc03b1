package stream

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
)

// plenty is a socket that has all of data at once, and records how much was read at a time.
type plenty struct {
	net.Conn
	data  []byte
	reads []int
}

func (p *plenty) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	p.reads = append(p.reads, n)
	return n, nil
}

// readSmall reads want in pieces of n bytes.
func readSmall(t *testing.T, r *Reader, want []byte, n int) {
	t.Helper()
	for len(want) > 0 {
		k := min(n, len(want))
		b, err := r.Peek(k)
		if err != nil || !bytes.Equal(b, want[:k]) {
			t.Fatalf("%d bytes before the end: got %d others, %v", len(want), len(b), err)
		}
		r.Discard(k)
		want = want[k:]
	}
}

// A Reader borrows a larger buffer while reads fill the one that it has, and returns it once one
// does not.
func TestBulkReads(t *testing.T) {
	data := noise(300_000)
	for _, n := range []int{1, 61, 1000, bufferSize} {
		conn := &plenty{data: data}
		r := NewReader(conn)
		readSmall(t, r, data, n)
		if got := slices.Max(conn.reads); got <= bufferSize {
			t.Errorf("pieces of %d: no read of more than %d bytes", n, got)
		}
		if _, err := r.Peek(1); err != io.EOF || r.bulk != nil {
			t.Errorf("pieces of %d: at the end %v, the buffer kept: %v", n, err, r.bulk != nil)
		}
		r.Release()
	}
}

// A Reader that waits within a message does not keep the larger buffer.
func TestBulkWhileWaiting(t *testing.T) {
	data := noise(200_000)
	near, far := net.Pipe()
	defer near.Close()
	r := NewReader(near)
	sent := make(chan struct{})
	go func() {
		far.Write(data[:150_000])
		<-sent
		far.Write(data[150_000:])
		far.Close()
	}()
	readSmall(t, r, data[:149_000], 1000)
	if r.bulk == nil {
		t.Fatal("no larger buffer was used")
	}
	close(sent)
	readSmall(t, r, data[149_000:], 10_000)
	if _, err := r.Peek(1); err != io.EOF || r.bulk != nil {
		t.Errorf("at the end: %v, the buffer kept: %v", err, r.bulk != nil)
	}
}

// Once as many are in use as may be, readers and writers do with smaller buffers.
func TestBulkLimit(t *testing.T) {
	var all []*bulk
	for b := takeBulk(); b != nil; b = takeBulk() {
		all = append(all, b)
	}
	if len(all) > bulkLimit {
		t.Errorf("%d were taken, over the limit of %d", len(all), bulkLimit)
	}
	data := noise(300_000)
	conn := &plenty{data: data}
	r := NewReader(conn)
	readSmall(t, r, data, 61)
	if got := slices.Max(conn.reads); got > bufferSize {
		t.Errorf("a read of %d bytes without such a buffer", got)
	}
	out := &recorder{}
	w := NewWriter(out)
	for range 3 {
		put(t, w, data[:BatchSize])
	}
	if err := w.Flush(); err != nil || !equalInts(out.sizes(), []int{BatchSize, BatchSize, BatchSize}) {
		t.Errorf("writes of %v bytes, %v", out.sizes(), err)
	}
	for _, b := range all {
		putBulk(b)
	}
	b := takeBulk()
	if b == nil {
		t.Fatal("a buffer that was returned cannot be taken again")
	}
	putBulk(b)
}
