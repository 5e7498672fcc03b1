package v1v2

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bip324proxy/internal/stream"
)

// parsed is a v1 message, parsed without the code under test.
type parsed struct {
	raw []byte
	ok  bool
}

var v1Type = regexp.MustCompile(`\A[\x20-\x7e]*\x00*\z`)

// parse splits a v1 stream into its messages and returns why it stops: "end", "cut", "magic" or
// "length".
func parse(data []byte) (all []parsed, end string) {
	for {
		switch n := len(data); {
		case n == 0:
			return all, "end"
		case n < 24:
			return all, "cut"
		case !bytes.HasPrefix(data, mainnet[:]):
			return all, "magic"
		}
		length := binary.LittleEndian.Uint32(data[16:20])
		if length > 4_000_000 {
			return all, "length"
		}
		if uint32(len(data)-24) < length {
			return all, "cut"
		}
		raw := data[:24+length]
		data = data[24+length:]
		once := sha256.Sum256(raw[24:])
		twice := sha256.Sum256(once[:])
		all = append(all, parsed{raw, bytes.Equal(twice[:4], raw[20:24]) && v1Type.Match(raw[4:16])})
	}
}

// repair turns any bytes into a stream of mostly valid messages, since a fuzzer cannot find
// checksums.
func repair(data []byte) {
	for len(data) >= 24 {
		copy(data, mainnet[:])
		data[18] &= 3
		data[19] = 0
		n := min(int(binary.LittleEndian.Uint32(data[16:])), len(data)-24)
		once := sha256.Sum256(data[24:][:n])
		twice := sha256.Sum256(once[:])
		copy(data[20:24], twice[:])
		data = data[24+n:]
	}
}

func FuzzReader(f *testing.F) {
	two := append(v1Bytes(mainnet, "inv", testBytes(37, 1)), v1Bytes(mainnet, "verack", nil)...)
	f.Add(two, uint16(5), false)
	f.Add(two[:70], uint16(0), false)
	f.Add(append(bytes.Clone(two), v1Bytes([4]byte{1}, "verack", nil)...), uint16(100), false)
	f.Add(append(bytes.Clone(two), lying(4_000_000)...), uint16(100), false)
	f.Add(append(bytes.Clone(two), lying(4_000_001)...), uint16(100), false)
	f.Add(append(badChecksum("tx", []byte{1}), two...), uint16(1), false)
	f.Add(v1Bytes(mainnet, "block", testBytes(17_000, 1)), uint16(1000), false)
	f.Add(testBytes(300, 1), uint16(33), true)
	f.Fuzz(func(t *testing.T, data []byte, chunk uint16, good bool) {
		if data = bytes.Clone(data); good {
			repair(data)
		}
		want, end := parse(data)
		src := &scripted{data: data, chunk: every(1 + int(chunk))}
		r := NewReader(stream.NewReader(src), mainnet)
		for i, w := range want {
			reads, certain := src.reads, r.Buffered()
			m, ok, err := r.Next()
			if err != nil || ok != w.ok || !bytes.Equal(m.Raw(), w.raw) {
				t.Fatalf("message %d: got %v, %v, %d bytes, want %v and %d", i, ok, err, len(m.Raw()), w.ok, len(w.raw))
			}
			if certain && src.reads != reads {
				t.Fatalf("message %d was buffered, but Next read from the stream", i)
			}
			if !ok {
				continue
			}
			raw, payload := bytes.Clone(m.Raw()), bytes.Clone(m.Payload())
			if again := AppendMessage(nil, mainnet, m.Type, payload); !bytes.Equal(again, raw) {
				t.Fatalf("message %d is encoded as %x", i, again)
			}
			name := strings.TrimRight(string(raw[4:16]), "\x00")
			contents := m.Contents()
			if !bytes.Equal(contents, v2Bytes(name, payload)) {
				t.Fatalf("message %d, %q, has contents %x", i, name, contents)
			}
			if typ, got, ok := Decode(contents); !ok || typ != m.Type || !bytes.Equal(got, payload) {
				t.Fatalf("message %d, %q, changes when translated to v2 and back", i, name)
			}
		}
		_, ok, err := r.Next()
		var magic *MagicError
		var length *LengthError
		got := ""
		switch {
		case ok:
		case err == io.EOF:
			got = "end"
		case err == io.ErrUnexpectedEOF:
			got = "cut"
		case errors.As(err, &magic):
			got = "magic"
		case errors.As(err, &length):
			got = "length"
		}
		if got != end {
			t.Fatalf("after %d messages: got %v, %v, want %q", len(want), ok, err, end)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	for _, name := range []string{"tx", "feature", "version", "abcdefghijkl"} {
		f.Add(v2Bytes(name, []byte("payload")))
		f.Add([]byte("\x00" + padded(name)))
	}
	f.Add([]byte{29, 1, 2})
	f.Add([]byte{37})
	f.Add([]byte{255})
	f.Add([]byte("\x00tx\x00y\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00tx\x7f\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	byID := map[byte]string{}
	for name, id := range bipIDs {
		byID[id] = name
	}
	for i, name := range utreexo {
		byID[byte(firstUtreexo+i)] = name
	}
	long := regexp.MustCompile(`(?s)\A\x00([\x20-\x7f]*)\x00*\z`)
	f.Fuzz(func(t *testing.T, contents []byte) {
		var name string
		var want []byte
		valid := false
		if len(contents) > 0 && contents[0] > 0 {
			name, valid = byID[contents[0]]
			want = contents[1:]
		} else if len(contents) >= 13 {
			if m := long.FindSubmatch(contents[:13]); m != nil {
				name, valid, want = string(m[1]), true, contents[13:]
			}
		}
		before := bytes.Clone(contents)
		typ, payload, ok := Decode(contents)
		if ok != valid || !bytes.Equal(contents, before) {
			t.Fatalf("%x: got %v, want %v", contents, ok, valid)
		}
		if !ok {
			return
		}
		if typ.String() != name || !bytes.Equal(payload, want) {
			t.Fatalf("%x: got %q with %x", contents, typ, payload)
		}
		canonical := AppendContents(nil, typ, payload)
		if !bytes.Equal(canonical, v2Bytes(name, want)) {
			t.Fatalf("%x is encoded as %x", contents, canonical)
		}
		if again, p, ok := Decode(canonical); !ok || again != typ || !bytes.Equal(p, payload) {
			t.Fatalf("%x: got %q with %x, %v", canonical, again, p, ok)
		}
	})
}

func FuzzClassify(f *testing.F) {
	f.Add([]byte(nil), byte(0))
	f.Add(begin("\xf9\xbe\xb4\xd9"), byte(3))
	f.Add(begin("\xf9\xbe\xb4\xd9")[:15], byte(0))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), byte(255))
	f.Fuzz(func(t *testing.T, data []byte, chunk byte) {
		data = data[:min(len(data), 100)]
		want := len(data) >= 16 && bytes.Equal(data[4:16], begin("")[:12])
		known := len(data) >= 4 && slices.Contains(someMagics[:knownMagics], string(data[:4]))
		cut := len(data) < 16 && bytes.HasPrefix(begin(""), data[min(4, len(data)):]) && (len(data) > 4 || known)
		var fault error
		switch {
		case cut:
			fault = io.ErrUnexpectedEOF
		case known && !want:
			fault = ErrNotVersion
		}
		r := stream.NewReader(&scripted{data: data, chunk: every(1 + int(chunk))})
		magic, v1, err := Classify(r)
		if v1 != want || err != fault || (v1 && !bytes.Equal(magic[:], data[:4])) {
			t.Fatalf("%x: got %x, %v, %v", data, magic, v1, err)
		}
		if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, data) {
			t.Fatalf("%x: %x left, want all; %v", data, rest, err)
		}
	})
}
