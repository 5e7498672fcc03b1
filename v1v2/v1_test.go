package v1v2

import (
	"bytes"
	"errors"
	"io"
	mrand "math/rand/v2"
	"os"
	"testing"

	"bip324proxy/internal/stream"
)

// However the bytes arrive, every message is read unchanged, and translating one to v2 does not
// modify the next.
func TestReaderChunks(t *testing.T) {
	sizes := edgeSizes()
	source := testBytes(MaxPayload, 1)
	names := allNames()
	var data []byte
	for i, n := range sizes {
		data = append(data, v1Bytes(mainnet, names[i%len(names)], source[:n])...)
	}
	rng := mrand.New(mrand.NewPCG(1, 2))
	for what, chunk := range map[string]func() int{
		"one byte": every(1),
		"23":       every(23),
		"24":       every(24),
		"25":       every(25),
		"1460":     every(1460),
		"16383":    every(16383),
		"16385":    every(16385),
		"whole":    nil,
		"random":   func() int { return 1 + rng.IntN(1<<rng.IntN(18)) },
	} {
		t.Run(what, func(t *testing.T) {
			r := reader(data, chunk)
			rest := data
			for i, n := range sizes {
				m, ok, err := r.Next()
				if err != nil || !ok {
					t.Fatalf("message %d: got %v, %v", i, ok, err)
				}
				name, want := names[i%len(names)], rest[:24+n]
				rest = rest[24+n:]
				if m.Type.String() != name || !bytes.Equal(m.Payload(), want[24:]) || !bytes.Equal(m.Raw(), want) {
					t.Fatalf("message %d: got %q with %d bytes, want %q with %d", i, m.Type, len(m.Payload()), name, n)
				}
				if i%3 > 0 {
					if got := m.Contents(); !bytes.Equal(got, v2Bytes(name, want[24:])) {
						t.Fatalf("message %d, %q of %d bytes: got %d bytes of contents", i, name, n, len(got))
					}
				}
			}
			if _, _, err := r.Next(); err != io.EOF {
				t.Errorf("at the end: got %v", err)
			}
		})
	}
}

// The stream ends after every byte.
func TestReaderEnds(t *testing.T) {
	small := append(v1Bytes(mainnet, "ping", testBytes(8, 1)), v1Bytes(mainnet, "verack", nil)...)
	for cut := range len(small) + 1 {
		whole, end := 0, io.ErrUnexpectedEOF
		if cut >= 32 {
			whole = 1
		}
		if cut >= 32+24 {
			whole = 2
		}
		if cut == 0 || cut == 32 || cut == 32+24 {
			end = io.EOF
		}
		checkEnd(t, small[:cut], whole, end)
	}
	for _, n := range []int{16 << 10, 20_000, 300_000} {
		large := v1Bytes(mainnet, "block", testBytes(n, 1))
		for _, cut := range []int{1, 4, 23, 24, 25, 16<<10 - 1, 16 << 10, 16<<10 + 1, 256 << 10, n - 1, n, n + 22, n + 23} {
			if cut < len(large) {
				checkEnd(t, large[:cut], 0, io.ErrUnexpectedEOF)
			}
		}
	}
}

func checkEnd(t *testing.T, data []byte, whole int, end error) {
	t.Helper()
	r := reader(data, every(7))
	for i := range whole {
		if _, ok, err := r.Next(); !ok || err != nil {
			t.Fatalf("%d bytes, message %d: got %v, %v", len(data), i, ok, err)
		}
	}
	if _, ok, err := r.Next(); ok || err != end {
		t.Errorf("%d bytes: got %v, %v, want %v", len(data), ok, err, end)
	}
}

// An error of the socket is returned unchanged, wherever it occurs.
func TestReaderSocketError(t *testing.T) {
	for _, n := range []int{0, 1, 23, 24, 30, 20_000} {
		data := v1Bytes(mainnet, "block", testBytes(40_000, 1))[:n]
		r := NewReader(stream.NewReader(&scripted{data: data, end: os.ErrDeadlineExceeded}), mainnet)
		if _, ok, err := r.Next(); ok || err != os.ErrDeadlineExceeded {
			t.Errorf("after %d bytes: got %v, %v", n, ok, err)
		}
	}
}

func TestReaderWrongMagic(t *testing.T) {
	first := v1Bytes(mainnet, "ping", testBytes(8, 1))
	for _, before := range []int{0, 1, 3} {
		for at := range 4 {
			wrong := mainnet
			wrong[at] ^= 0x20
			data := bytes.Repeat(first, before)
			data = append(data, v1Bytes(wrong, "ping", nil)...)
			r := reader(data, nil)
			for range before {
				if _, ok, err := r.Next(); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			_, ok, err := r.Next()
			var magic *MagicError
			if ok || !errors.As(err, &magic) || magic.Got != wrong || magic.Want != mainnet || magic.Error() == "" {
				t.Errorf("after %d messages: got %v, %v", before, ok, err)
			}
		}
	}
}

// A message with a wrong checksum or type is not valid, and the next one is.
func TestReaderDrops(t *testing.T) {
	next := v1Bytes(mainnet, "pong", testBytes(8, 2))
	check := func(what string, bad []byte) {
		t.Helper()
		r := reader(append(bytes.Clone(bad), next...), nil)
		m, ok, err := r.Next()
		if ok || err != nil || !bytes.Equal(m.Raw(), bad) {
			t.Errorf("%s: got %v, %v, %d bytes", what, ok, err, len(m.Raw()))
		}
		m, ok, err = r.Next()
		if !ok || err != nil || !bytes.Equal(m.Raw(), next) {
			t.Errorf("after %s: got %v, %v, %x", what, ok, err, m.Raw())
		}
	}
	for _, n := range []int{1, 8, 16360, 16361, 300_000} {
		good := v1Bytes(mainnet, "tx", testBytes(n, 1))
		for at := 20; at < len(good); at += 1 + len(good)/50 {
			for bit := range 8 {
				bad := bytes.Clone(good)
				bad[at] ^= 1 << bit
				check("a flipped bit", bad)
			}
		}
		check("the last byte", append(good[:len(good)-1:len(good)-1], good[len(good)-1]^0x80))
		check("a type with DEL", v1Bytes(mainnet, "tx\x7f", testBytes(n, 1)))
		check("a type with NUL inside", v1Bytes(mainnet, "t\x00x", testBytes(n, 1)))
	}
	empty := v1Bytes(mainnet, "verack", nil)
	for at := 20; at < 24; at++ {
		bad := bytes.Clone(empty)
		bad[at]++
		check("the checksum of nothing", bad)
	}
}

// Buffered is true exactly if Next needs no more bytes, whatever Next returns.
func TestReaderBuffered(t *testing.T) {
	first := v1Bytes(mainnet, "ping", testBytes(8, 1))
	wrong := v1Bytes([4]byte{1, 2, 3, 4}, "ping", testBytes(8, 1))
	tooLong := bytes.Clone(first)
	copy(tooLong[16:], "\xff\xff\xff\xff")
	for _, c := range []struct {
		name   string
		second []byte
		from   int // bytes of second that Next needs; 0: never enough
	}{
		{"empty", v1Bytes(mainnet, "verack", nil), 24},
		{"small", v1Bytes(mainnet, "inv", testBytes(37, 1)), 61},
		{"bad checksum", badChecksum("inv", testBytes(37, 1)), 61},
		{"bad type", v1Bytes(mainnet, "i\nv", testBytes(37, 1)), 61},
		{"wrong magic", wrong, 24},
		{"too long", tooLong, 24},
		{"larger than the buffer", v1Bytes(mainnet, "block", testBytes(17_000, 1)), 0},
	} {
		for n := 0; n <= min(len(c.second), 100); n++ {
			src := &scripted{data: append(bytes.Clone(first), c.second[:n]...)}
			r := NewReader(stream.NewReader(src), mainnet)
			if r.Buffered() {
				t.Fatal("Buffered is true before any read")
			}
			if _, ok, err := r.Next(); !ok || err != nil {
				t.Fatal(ok, err)
			}
			want := c.from > 0 && n >= c.from
			if got := r.Buffered(); got != want || src.reads != 1 {
				t.Errorf("%s, %d bytes: %v after %d reads", c.name, n, got, src.reads)
			}
			r.Next()
			if waited := src.reads > 1; waited == want {
				t.Errorf("%s, %d bytes: Buffered was %v, and Next read: %v", c.name, n, want, waited)
			}
		}
	}
}

// Read takes what follows the last message even if Buffered has looked at it, and Next goes on behind.
func TestReaderReadBetween(t *testing.T) {
	var all []byte
	for _, name := range []string{"ping", "inv", "tx"} {
		all = append(all, v1Bytes(mainnet, name, testBytes(8, 1))...)
	}
	r := reader(all, nil)
	for i, name := range []string{"ping", "tx"} {
		m, ok, err := r.Next()
		if err != nil || !ok || m.Type.String() != name {
			t.Fatalf("message %d: got %q, %v, %v, want %q", i, m.Type, ok, err, name)
		}
		if i > 0 {
			break
		}
		if !r.Buffered() {
			t.Fatal("the next message is not buffered")
		}
		got := make([]byte, HeaderSize+8)
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, all[len(got):][:len(got)]) {
			t.Fatalf("Read returned %x, %v", got, err)
		}
	}
}
