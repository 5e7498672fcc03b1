package transport

import (
	"bytes"
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"bip324proxy/internal/stream"
)

// shapedConn returns an established connection that writes to nc with the given shape, and what
// opens its packets.
func shapedConn(t testing.TB, nc net.Conn, shape Shape) (*Conn, *direction) {
	t.Helper()
	s, _, _, o := ciphers(t)
	socket := stream.NewSocket(nc)
	c := &Conn{socket: socket, out: sending{w: stream.NewWriter(socket), ciphers: s}}
	c.startShape(&Handshake{cfg: Config{Shape: shape}, initiator: true})
	t.Cleanup(c.out.stop)
	return c, o
}

// padSizes returns the sizes of writes in the mode pad, in order, up to the first of at least n.
func padSizes(bucket, n int) []int {
	sizes := []int{bucket}
	for last := bucket; last < n; sizes = append(sizes, last) {
		last += min(last, 16<<10)
	}
	return sizes
}

// padded returns the size of the write that n bytes leave in: a packet is 20 bytes at least.
func padded(bucket, n int) int {
	for _, size := range padSizes(bucket, n+40<<10) {
		if size == n || size >= n+20 {
			return size
		}
	}
	panic("no size")
}

// buckets are all that Shape.Bucket can be.
var buckets = []int{256, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10}

// packets opens all packets in b. Those of pad's filler are left out; each is checked.
func packets(t testing.TB, o *direction, b []byte) (all []opened, filler int) {
	t.Helper()
	for len(b) > 0 {
		n, err := o.length.openLength(b)
		if err != nil || len(b) < packetSize(n) {
			t.Fatalf("a packet of %d bytes, of which %d were sent: %v", n, len(b), err)
		}
		contents, decoy, err := o.open(b[lengthSize:packetSize(n)], nil)
		if err != nil {
			t.Fatal(err)
		}
		if isFiller := decoy && !bytes.ContainsFunc(contents, func(r rune) bool { return r != 0 }); isFiller {
			if len(contents) > 15<<10 {
				t.Fatalf("filler of %d bytes", len(contents))
			}
			filler += packetSize(n)
		} else {
			all = append(all, opened{bytes.Clone(contents), decoy})
		}
		b = b[packetSize(n):]
	}
	return all, filler
}

// padEdges are sizes of contents around all of pad's thresholds.
func padEdges() []int {
	sizes := []int{0, 1, MaxContents - 1, MaxContents}
	for _, size := range padSizes(256, 128<<10) {
		for _, gap := range []int{0, 1, 19, 20, 21, 40} {
			sizes = append(sizes, size-gap-packetSize(0), size-gap-packetSize(0)+1)
		}
	}
	return sizes
}

// Each way to send makes one write, or two if a large packet is not copied, filled up to the
// next size of the mode that has room for a decoy.
func TestPadSizes(t *testing.T) {
	source := testBytes(MaxContents, 1)
	for _, size := range buckets {
		conn := &fitsConn{fits: -1}
		client, o := shapedConn(t, conn, Shape{Mode: ShapePad, Bucket: size})
		for _, w := range writers {
			for _, n := range padEdges() {
				watched := watch(conn, 0)
				client.socket.Conn = watched
				conn.sent.Reset()
				if err := w.send(client, source[:n]); err != nil {
					t.Fatal(err)
				}
				want := []int{padded(size, packetSize(n))}
				if whole := packetSize(n) >> 14 << 14; w.name == "WriteInPlace" && 0 < whole && whole < want[0] {
					want = []int{whole, want[0] - whole}
				} else if w.name == "behind a decoy" {
					want = []int{padded(size, packetSize(n/2)), padded(size, packetSize(0)), want[0]}
				}
				if !slices.Equal(watched.writes, want) {
					t.Errorf("bucket %d, %s of %d bytes: writes of %v bytes, want %v", size, w.name, n, watched.writes, want)
				}
				all, _ := packets(t, o, conn.sent.Bytes())
				if got := all[len(all)-1]; got.decoy || !bytes.Equal(got.contents, source[:n]) {
					t.Fatalf("bucket %d, %s of %d bytes: another packet arrived", size, w.name, n)
				}
			}
		}
		if client.out.w.Buf != nil {
			t.Error("an idle connection holds a batch")
		}
	}
}

// Packets that were queued leave together, and a full batch is filled up, too.
func TestPadBatches(t *testing.T) {
	conn := watch(&fitsConn{Conn: new(memConn), fits: -1}, 0)
	client, o := shapedConn(t, conn, Shape{Mode: ShapePad})
	check := func(what string, want ...int) {
		t.Helper()
		if !slices.Equal(conn.writes, want) {
			t.Errorf("%s: writes of %v bytes, want %v", what, conn.writes, want)
		}
		conn.writes = nil
	}
	queue := func(sizes ...int) {
		t.Helper()
		for _, n := range sizes {
			if err := client.Queue(testBytes(n, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(client.Flush())
	check("nothing queued")
	queue(slices.Repeat([]int{80}, 30)...)
	check("queued")
	ok(client.Flush())
	check("flushed", 4096)
	ok(client.Flush())
	check("flushed again")
	queue(16_384 - 20 - 20) // with a decoy without contents
	check("a full batch")
	queue(0)
	check("over the batch", 16_384)
	ok(client.WritePacket(nil))
	check("WritePacket", 1024)
	queue(100)
	ok(client.WriteDecoy([]byte("decoy")))
	check("WriteDecoy", 1024)
	queue(100, 16_384-20-19)
	check("a packet that leaves no room for a decoy", 1024, 32_768)
	queue(100, 16_384-20)
	check("a packet that fills a bucket", 1024, 16_384)
	queue(100, 100_000)
	check("a large packet", 1024, 7*16_384)
	queue(100)
	ok(client.WriteInPlace(make([]byte, packetSize(100))))
	check("a small packet in place", 1024)
	queue(100)
	ok(client.WriteInPlace(make([]byte, packetSize(100_000))))
	check("a large packet in place", 1024, 6*16_384, 16_384)
	queue(2000)
	client.CloseWrite()
	check("CloseWrite", 4096-2048)
	_, filler := packets(t, o, conn.Conn.(*fitsConn).sent.Bytes())
	if got := client.Shaping(); got.Mode != ShapePad || int(got.SentFiller) != filler ||
		int(got.SentReal)+filler != conn.Conn.(*fitsConn).sent.Len() || got.Overflows != 0 {
		t.Errorf("%+v, %d bytes of filler in %d", got, filler, conn.Conn.(*fitsConn).sent.Len())
	}
}

// FuzzShapePad sends packets in all ways, whatever the buffers of the socket take before a
// deadline: all that were accepted arrive unaltered and in order, only filler is added, and each
// write has a size of the mode, or is what a deadline has left of one.
func FuzzShapePad(f *testing.F) {
	f.Add(byte(2), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(byte(0), testBytes(400, 1))
	f.Add(byte(6), testBytes(400, 3))
	f.Add(byte(2), []byte{7, 1, 3, 39, 0, 0, 7, 200, 3, 63, 4, 1})
	f.Fuzz(func(t *testing.T, bucket byte, plan []byte) {
		padPlan(t, buckets[int(bucket)%len(buckets)], plan[:min(len(plan), 400)])
	})
}

// Both ends change keys alike, whether a packet or filler is the last with one.
func TestPadRekeys(t *testing.T) {
	for seed := range uint64(4) {
		if rekeys := padPlan(t, 256, testBytes(4000, seed)); rekeys < 5 {
			t.Errorf("only %d keys", rekeys)
		}
	}
}

// padPlan sends packets as the plan has them, checks what arrives and how, and returns how often
// the keys changed.
func padPlan(t *testing.T, bucket int, plan []byte) (rekeys uint64) {
	t.Helper()
	conn := &fitsConn{fits: -1}
	writes := &shortWrites{fitsConn: conn}
	client, o := shapedConn(t, writes, Shape{Mode: ShapePad, Bucket: bucket})
	client.SetWriteDeadline(time.Now().Add(time.Hour))
	edges := slices.DeleteFunc(padEdges(), func(n int) bool { return n > 50_000 })
	source := testBytes(60_000, 1)
	for i := range source {
		source[i] |= 1 // unlike filler
	}
	var want []opened
	for i := 0; i+1 < len(plan); i += 2 {
		n, decoy := edges[int(plan[i+1])%len(edges)], false
		contents := source[i : i+n]
		var err error
		switch plan[i] % 8 {
		case 0:
			err = client.WritePacket(contents)
		case 1:
			if n == 0 {
				continue
			}
			decoy = true
			err = client.WriteDecoy(contents)
		case 2:
			b := make([]byte, packetSize(n))
			copy(b[Headroom:], contents)
			err = client.WriteInPlace(b)
			clear(b) // it is the caller's
		case 3:
			conn.fits = int(plan[i+1]) << (plan[i] >> 4)
			continue
		case 4:
			conn.fits = -1
			continue
		case 5:
			if err := client.Flush(); err != nil && !isPending(err) {
				t.Fatal(err)
			}
			continue
		default:
			err = client.Queue(contents[:n/3], contents[n/3:])
		}
		switch {
		case err == nil || isPending(err):
			want = append(want, opened{contents, decoy})
		case !errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatal(err)
		}
	}
	conn.fits = -1
	if err := client.Flush(); err != nil {
		t.Fatal(err)
	}
	writes.check(t, bucket)
	got, filler := packets(t, o, conn.sent.Bytes())
	if len(got) != len(want) {
		t.Fatalf("%d packets arrived, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].decoy != want[i].decoy || !bytes.Equal(got[i].contents, want[i].contents) {
			t.Fatalf("packet %d: %d bytes, decoy %v; want %d bytes, %v", i, len(got[i].contents), got[i].decoy, len(want[i].contents), want[i].decoy)
		}
	}
	if s := client.Shaping(); int(s.SentFiller) != filler || int(s.SentReal)+filler != conn.sent.Len() {
		t.Errorf("%+v, %d bytes of filler in %d", s, filler, conn.sent.Len())
	}
	if rekeys = o.content.rekeys; rekeys != client.out.ciphers.content.rekeys {
		t.Errorf("%d keys to open, %d to seal", rekeys, client.out.ciphers.content.rekeys)
	}
	return rekeys
}

func isPending(err error) bool {
	pending, ok := errors.AsType[*PendingError](err)
	return ok && errors.Is(pending, os.ErrDeadlineExceeded)
}

// shortWrites notes the sizes of writes, and how much was taken of each.
type shortWrites struct {
	*fitsConn
	writes []struct{ size, taken int }
}

func (s *shortWrites) Write(p []byte) (n int, err error) {
	n, err = s.fitsConn.Write(p)
	s.writes = append(s.writes, struct{ size, taken int }{len(p), n})
	return n, err
}

// check checks that each write has a size of pad, or is what a deadline has left of one, and of the
// end of a large packet that could not be tried.
func (s *shortWrites) check(t *testing.T, bucket int) {
	t.Helper()
	left := 0
	for i, w := range s.writes {
		switch sizes := padSizes(bucket, w.size); {
		case left > 0 && w.size != left && w.size != left+16<<10 && w.size != left+32<<10:
			t.Fatalf("write %d: %d bytes after a deadline has left %d", i, w.size, left)
		case left == 0 && sizes[len(sizes)-1] != w.size:
			t.Fatalf("write %d: %d bytes", i, w.size)
		}
		left = w.size - w.taken
	}
	if left > 0 {
		t.Fatalf("%d bytes are left", left)
	}
}
