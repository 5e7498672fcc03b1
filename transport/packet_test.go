package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"bip324proxy/internal/stream"
)

// ciphers returns both sides' ciphers of one session.
func ciphers(t testing.TB) (sealI *direction, openI *direction, sealR *direction, openR *direction) {
	t.Helper()
	secret := [32]byte{1, 2, 3}
	for _, initiator := range []bool{true, false} {
		s, o, err := newCiphers(deriveKeys(&secret, mainnet, initiator))
		if err != nil {
			t.Fatal(err)
		}
		if initiator {
			sealI, openI = s, o
		} else {
			sealR, openR = s, o
		}
	}
	return sealI, openI, sealR, openR
}

func TestRekeying(t *testing.T) {
	for _, n := range []int{1, 223, 224, 225, 447, 448, 449, 10_000} {
		sealI, openI, sealR, openR := ciphers(t)
		for _, d := range []struct {
			s *direction
			o *direction
		}{{sealI, openR}, {sealR, openI}} {
			for i := range n {
				want := testBytes(i%40, uint64(i))
				p := d.s.seal(nil, want, nil, i%3 == 0)
				size, err := d.o.length.openLength(p)
				if err != nil || size != len(want) {
					t.Fatalf("packet %d: length %d, %v", i, size, err)
				}
				got, decoy, err := d.o.open(p[lengthSize:], nil)
				if err != nil || !bytes.Equal(got, want) || decoy != (i%3 == 0) {
					t.Fatalf("packet %d: got %x, decoy %v, %v", i, got, decoy, err)
				}
			}
			for what, rekeys := range map[string]uint64{
				"sealed lengths": d.s.length.rekeys, "sealed contents": d.s.content.rekeys,
				"opened lengths": d.o.length.rekeys, "opened contents": d.o.content.rekeys,
			} {
				if want := uint64(n / 224); rekeys != want {
					t.Errorf("%s: %d rekeyings after %d packets, want %d", what, rekeys, n, want)
				}
			}
		}
	}
}

// A packet is the same whether its contents are copied or sealed in place, after other packets or
// none, with spare capacity or without.
func TestSealPlaces(t *testing.T) {
	for _, n := range []int{0, 1, 500, 40_000} {
		contents := testBytes(n, 1)
		a, _, _, _ := ciphers(t)
		want := a.seal(nil, contents, []byte("aad"), false)
		if !bytes.Equal(contents, testBytes(n, 1)) {
			t.Fatal("sealing changed the contents")
		}

		b, _, _, _ := ciphers(t)
		place := append(make([]byte, Headroom), contents...)
		place = append(place, make([]byte, Tailroom)...)
		got := b.seal(place[:0], place[Headroom:Headroom+n], []byte("aad"), false)
		if !bytes.Equal(got, want) || &got[0] != &place[0] {
			t.Errorf("%d bytes in place: got another packet", n)
		}

		for _, spare := range []int{0, 1, packetSize(n), packetSize(n) + 100} {
			c, _, _, _ := ciphers(t)
			prefix := append(make([]byte, 0, 6+spare), "prefix"...)
			got := c.seal(prefix, contents, []byte("aad"), false)
			if string(got[:6]) != "prefix" || !bytes.Equal(got[6:], want) {
				t.Errorf("%d bytes behind a prefix, %d spare: got another packet", n, spare)
			}
			if inside := &got[0] == &prefix[0]; inside != (spare >= packetSize(n)) {
				t.Errorf("%d bytes, %d spare: sealed in dst: %v", n, spare, inside)
			}
		}
	}
}

// memConn is a socket with a fixed input that records writes.
type memConn struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (m *memConn) Read(p []byte) (int, error)       { return m.in.Read(p) }
func (m *memConn) Write(p []byte) (int, error)      { return m.out.Write(p) }
func (m *memConn) Close() error                     { return nil }
func (m *memConn) SetReadDeadline(time.Time) error  { return nil }
func (m *memConn) SetWriteDeadline(time.Time) error { return nil }

// receiverOf returns an established connection that receives in.
func receiverOf(in io.Reader, o *direction) *Conn {
	r := stream.NewReader(&memConn{in: in})
	return &Conn{in: receiving{r: r, ciphers: o, size: -1}}
}

// ended checks that c returns an error, and the same one from then on.
func ended(t *testing.T, c *Conn) error {
	t.Helper()
	_, err := c.ReadPacket()
	if err == nil {
		t.Fatal("got another packet, want an error")
	}
	for range 3 {
		if got, again := c.ReadPacket(); again != err || got != nil {
			t.Fatalf("after %v: got %x, %v", err, got, again)
		}
		if !c.PacketBuffered() {
			t.Fatal("PacketBuffered is false after an error")
		}
	}
	return err
}

// A tampered stream ends at the first packet that is not the next one as it was sealed; packets
// before it are delivered.
func TestTampering(t *testing.T) {
	sizes := []int{10, 0, 100, 20_000, 10, 10}
	for _, c := range []struct {
		name   string
		alter  func(own, other [][]byte) [][]byte
		intact int
	}{
		{"replay", func(p, _ [][]byte) [][]byte { return [][]byte{p[0], p[0], p[1], p[2]} }, 1},
		{"late replay", func(p, _ [][]byte) [][]byte { return append(p[:5:5], p[0], p[5]) }, 5},
		{"drop first", func(p, _ [][]byte) [][]byte { return p[1:] }, 0},
		{"drop", func(p, _ [][]byte) [][]byte { return append(p[:3:3], p[4:]...) }, 3},
		{"swap", func(p, _ [][]byte) [][]byte { return [][]byte{p[0], p[2], p[1], p[3], p[4], p[5]} }, 1},
		{"swap of equal sizes", func(p, _ [][]byte) [][]byte { return append(p[:4:4], p[5], p[4]) }, 4},
		{"reflect", func(_, q [][]byte) [][]byte { return q }, 0},
		{"reflect later", func(p, q [][]byte) [][]byte { return append(p[:2:2], q[2:]...) }, 2},
		{"one byte lost", func(p, _ [][]byte) [][]byte { return append(p[:4:4], p[4][1:], p[5]) }, 4},
		{"one byte more", func(p, _ [][]byte) [][]byte { return append(p[:3:3], []byte{0}, p[3], p[4]) }, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			sealI, _, sealR, openR := ciphers(t)
			var own, other [][]byte
			for i, n := range sizes {
				own = append(own, sealI.seal(nil, testBytes(n, uint64(i)), nil, false))
				other = append(other, sealR.seal(nil, testBytes(n, uint64(i)), nil, false))
			}
			conn := receiverOf(bytes.NewReader(bytes.Join(c.alter(own, other), nil)), openR)
			for i := range c.intact {
				if got, err := conn.ReadPacket(); err != nil || !bytes.Equal(got, testBytes(sizes[i], uint64(i))) {
					t.Fatalf("packet %d: got %d bytes, %v", i, len(got), err)
				}
			}
			err := ended(t, conn)
			var size *SizeError
			if err != ErrAuthentication && err != io.ErrUnexpectedEOF && !errors.As(err, &size) {
				t.Errorf("got the error %v", err)
			}
		})
	}
}

// Flipping any bit of a packet is detected.
func TestFlippedPacketBits(t *testing.T) {
	s, _, _, _ := ciphers(t)
	good := s.seal(nil, []byte("first"), nil, false)
	bad := s.seal(nil, testBytes(30, 1), nil, false)
	more := make([]byte, 70_000)
	for bit := range 8 * len(bad) {
		_, _, _, o := ciphers(t)
		altered := bytes.Clone(bad)
		altered[bit/8] ^= 1 << (bit % 8)
		conn := receiverOf(io.MultiReader(bytes.NewReader(good), bytes.NewReader(altered), bytes.NewReader(more)), o)
		if got, err := conn.ReadPacket(); err != nil || string(got) != "first" {
			t.Fatalf("bit %d: got %q, %v", bit, got, err)
		}
		err := ended(t, conn)
		if bit/8 >= lengthSize && err != ErrAuthentication {
			t.Errorf("bit %d: got %v", bit, err)
		}
	}
}

// Only the header's top bit has a meaning.
func TestReservedHeaderBits(t *testing.T) {
	for header := range 256 {
		s, _, _, o := ciphers(t)
		p := make([]byte, packetSize(5))
		p[0], p[3] = 5, byte(header)
		copy(p[Headroom:], "hello")
		s.length.crypt(p[:lengthSize])
		s.content.seal(p[lengthSize:Headroom+5], nil)
		if n, err := o.length.openLength(p); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		got, decoy, err := o.open(p[lengthSize:], nil)
		if err != nil || string(got) != "hello" || decoy != (header >= 0x80) {
			t.Errorf("header %#x: got %q, decoy %v, %v", header, got, decoy, err)
		}
	}
}

func TestPacketAllocations(t *testing.T) {
	for _, n := range []int{0, 37, 500, 16_000} {
		s, _, _, o := ciphers(t)
		buf := make([]byte, 0, packetSize(n))
		contents := make([]byte, n)
		if got := testing.AllocsPerRun(200, func() { buf = s.seal(buf[:0], contents, nil, false) }); got != 0 {
			t.Errorf("seal of %d bytes: %v allocations", n, got)
		}
		s, _, _, _ = ciphers(t)
		packets := make([][]byte, 201)
		for i := range packets {
			packets[i] = s.seal(nil, contents, nil, false)
		}
		i := 0
		if got := testing.AllocsPerRun(200, func() {
			p := packets[i]
			i++
			if _, err := o.length.openLength(p); err != nil {
				t.Fatal(err)
			}
			if _, _, err := o.open(p[lengthSize:], nil); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("open of %d bytes: %v allocations", n, got)
		}
	}
}

var benchSizes = []int{37, 500, 16_384, 1_500_000}

func BenchmarkSeal(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("size=%d", n), func(b *testing.B) {
			s, _, _, _ := ciphers(b)
			buf := make([]byte, packetSize(n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				s.seal(buf[:0], buf[Headroom:Headroom+n], nil, false)
			}
		})
	}
}

// BenchmarkSealAndOpen opens the packets it seals, since each can be opened only once.
func BenchmarkSealAndOpen(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("size=%d", n), func(b *testing.B) {
			s, _, _, o := ciphers(b)
			buf := make([]byte, packetSize(n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				p := s.seal(buf[:0], buf[Headroom:Headroom+n], nil, false)
				if _, err := o.length.openLength(p); err != nil {
					b.Fatal(err)
				}
				if _, _, err := o.open(p[lengthSize:], nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
