package v1v2

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"bip324proxy/internal/stream"
)

// firstBytes is the start of a stream. It fails the test if Classify waits for more bytes than it
// needs to decide.
type firstBytes struct {
	t    *testing.T
	data []byte
	end  error
	need int
}

func (f *firstBytes) Peek(n int) ([]byte, error) {
	if n > f.need {
		f.t.Errorf("%q: waits for %d bytes, but %d suffice", f.data, n, f.need)
	}
	if n > len(f.data) {
		return f.data, f.end
	}
	return f.data[:n], nil
}

// begin returns the start of a v1 connection.
func begin(magic string) []byte { return []byte(magic + "version\x00\x00\x00\x00\x00") }

const knownMagics = 6

// someMagics are the known networks' magics, then others.
var someMagics = [...]string{
	"\xf9\xbe\xb4\xd9", "\x0b\x11\x09\x07", "\x1c\x16\x3f\x28", "\x0a\x03\xcf\x40", "\xfa\xbf\xb5\xda", "\x16\x1c\x14\x12",
	"\x54\xd2\x6f\xbd",                                     // a custom signet's
	"\x00\x00\x00\x00", "\xff\xff\xff\xff", "GET ", "vers", // could be chance
}

func TestClassifyV1(t *testing.T) {
	for _, m := range someMagics {
		data := append(begin(m), testBytes(100, 1)...)
		magic, v1, err := Classify(&firstBytes{t, data, io.EOF, 16})
		if string(magic[:]) != m || !v1 || err != nil {
			t.Errorf("%q: got %q, %v, %v", data[:16], magic, v1, err)
		}
	}
}

// The first differing byte, of any value, decides at once: the stream is not v1 or, after a known
// network's magic, invalid and not passed on.
func TestClassifyFirstDifference(t *testing.T) {
	for i, m := range someMagics {
		var want error
		if i < knownMagics {
			want = ErrNotVersion
		}
		for at := 4; at < 16; at++ {
			for c := range 256 {
				data := begin(m)
				if data[at] == byte(c) {
					continue
				}
				data[at] = byte(c)
				if _, v1, err := Classify(&firstBytes{t, data, io.EOF, at + 1}); v1 || err != want {
					t.Errorf("%q: got %v, %v", data, v1, err)
				}
				// The same if nothing more has arrived.
				if _, v1, err := Classify(&firstBytes{t, data[:at+1], os.ErrDeadlineExceeded, at + 1}); v1 || err != want {
					t.Errorf("%q: got %v, %v", data[:at+1], v1, err)
				}
			}
		}
	}
}

// The stream ends, or the socket fails, while it could still be v1.
func TestClassifyEnds(t *testing.T) {
	fault := errors.New("fault")
	for m, v1From := range map[string]int{"\xf9\xbe\xb4\xd9": 4, "\x54\xd2\x6f\xbd": 5} {
		for n := range 16 {
			data := begin(m)[:n]
			var want error
			if n >= v1From { // it was v1: no byte of it may be sent in plaintext
				want = io.ErrUnexpectedEOF
			}
			if _, v1, err := Classify(&firstBytes{t, data, io.EOF, 16}); v1 || err != want {
				t.Errorf("end after %q: got %v, %v, want %v", data, v1, err, want)
			}
			if _, v1, err := Classify(&firstBytes{t, data, fault, 16}); v1 || err != fault {
				t.Errorf("fault after %q: got %v, %v", data, v1, err)
			}
		}
	}
}

// A v1 stream that does not begin with VERSION is not taken for another protocol.
func TestClassifyNotVersion(t *testing.T) {
	for _, name := range []string{"verack", "versions", "tx"} {
		if _, v1, err := Classify(reader(v1Bytes(mainnet, name, nil), every(1)).r); v1 || err != ErrNotVersion {
			t.Errorf("%s: got %v, %v", name, v1, err)
		}
	}
}

// Other protocols on a SOCKS port are not v1.
func TestClassifyOtherProtocols(t *testing.T) {
	for name, data := range map[string]string{
		"TLS":               "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x52\x1e\x9a\x77\x04\x31\x9c",
		"HTTP":              "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"Electrum":          `{"jsonrpc":"2.0","method":"server.version","params":["x","1.4"],"id":0}` + "\n",
		"Lightning act one": "\x00\x03" + string(testBytes(32, 1)) + string(testBytes(16, 2)),
		"SSH":               "SSH-2.0-OpenSSH_9.9\r\n",
		"no magic":          "version\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"nothing":           "",
		"zeros":             "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		if magic, v1, err := Classify(reader([]byte(data), every(1)).r); v1 || err != nil {
			t.Errorf("%s: got %x, %v, %v", name, magic, v1, err)
		}
	}
	keys := testBytes(64*10_000, 1)
	for at := 0; at < len(keys); at += 64 {
		if _, v1, err := Classify(&firstBytes{t, keys[at:][:64], io.EOF, 16}); v1 || err != nil {
			t.Errorf("%x: got %v, %v", keys[at:][:64], v1, err)
		}
	}
}

// Classify consumes nothing, so the stream can be read as whatever it is.
func TestClassifyConsumesNothing(t *testing.T) {
	version := v1Bytes(mainnet, "version", testBytes(102, 1))
	for _, data := range [][]byte{version, testBytes(200, 1), version[:10], nil} {
		for _, chunk := range []int{1, 3, 16, 200} {
			r := stream.NewReader(&scripted{data: data, chunk: every(chunk)})
			if _, _, err := Classify(r); err != nil && (err != io.ErrUnexpectedEOF || len(data) != 10) {
				t.Error(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d of %d bytes left, want all; %v", len(got), len(data), err)
			}
		}
	}
}
