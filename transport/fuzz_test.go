package transport

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzHandshake feeds a machine any bytes after the start of an honest flight: nothing, the key,
// garbage and terminator, or also a decoy.
func FuzzHandshake(f *testing.F) {
	f.Add(false, byte(0), uint16(1), []byte("\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00"))
	f.Add(true, byte(0), uint16(30), []byte("\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00\x66\x00\x00\x00\x01\x02\x03\x04"))
	f.Add(true, byte(0), uint16(3), []byte("\x0a\x03\xcf\x40version\x00\x00\x00\x00\x00"))
	f.Add(true, byte(1), uint16(7), make([]byte, 5000))
	f.Add(true, byte(2), uint16(500), make([]byte, 300))
	f.Add(false, byte(3), uint16(2), make([]byte, 20))
	ours, theirs := fixedKey(f, 0), fixedKey(f, 1)
	garbage := testBytes(30, 1)
	f.Fuzz(func(t *testing.T, initiator bool, depth byte, chunk uint16, data []byte) {
		v1Size := v1HeaderSize // required for an answer in v1
		if !initiator {
			v1Size = v1PrefixSize
		}
		h := machine(t, Config{Magic: mainnet, Garbage: garbage, First: [][]byte{{1}}}, initiator, ours)
		p := newPeer(t, h, &theirs)
		var honest []byte
		switch depth % 4 {
		case 1:
			honest = p.public[:]
		case 2:
			honest = p.hello(garbage)
		case 3:
			honest = p.seal.seal(p.hello(garbage), nil, garbage, true)
		}
		h.Start()
		n, _, err := feed(t, h, honest, func() int { return 1 + int(chunk) })
		if n != len(honest) || err != nil {
			t.Fatalf("honest bytes: %d of %d, %v", n, len(honest), err)
		}
		_, _, err = feed(t, h, data, func() int { return 1 + int(chunk) })
		if h.Stage() == StageDone {
			t.Fatal("the handshake completed without the peer's private key")
		}
		var size *SizeError
		switch {
		case err == nil, err == ErrAuthentication, errors.As(err, &size):
		case err == ErrNoTerminator && h.Received() == bytesToTerminator:
		case err == ErrV1OtherNetwork && depth%4 == 0 && h.Received() >= v1PrefixSize:
		case err == ErrV1Peer && depth%4 == 0 && h.Received() >= v1Size:
		default:
			t.Fatalf("got the error %v", err)
		}
		if cap(h.buf) > 2*(MaxGarbage+terminatorSize) {
			t.Fatalf("the buffer has %d bytes", cap(h.buf))
		}
		if err != nil {
			wiped(t, h)
		}
	})
}

// FuzzPacket replaces a part of an honest stream of packets. The packets delivered are those sealed
// before the change, in order and complete.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint16(25), uint16(4), []byte("xxxx"), false)
	f.Add([]byte{0, 200, 255}, uint16(3), uint16(0), []byte{0}, true)
	f.Add([]byte{0x83, 7, 250}, uint16(60_000), uint16(10), []byte{}, false)
	f.Fuzz(func(t *testing.T, plan []byte, at, drop uint16, with []byte, slow bool) {
		s, _, _, o := ciphers(t)
		var whole []byte
		var contents [][]byte
		var ends []int
		for i, c := range plan[:min(len(plan), 300)] {
			n := int(c & 0x7f)
			if n > 0x78 { // around the size of the reader's buffer
				n = 16<<10 - 24 + n - 0x78
			}
			p := s.seal(nil, testBytes(n, uint64(i)), nil, c >= 0x80)
			whole = append(whole, p...)
			if c < 0x80 {
				contents = append(contents, testBytes(n, uint64(i)))
				ends = append(ends, len(whole))
			}
		}
		from := min(int(at), len(whole))
		to := min(from+int(drop), len(whole))
		altered := bytes.Join([][]byte{whole[:from], with, whole[to:]}, nil)
		intact := 0 // number of bytes before the change
		for intact < min(len(whole), len(altered)) && whole[intact] == altered[intact] {
			intact++
		}

		var in io.Reader = bytes.NewReader(altered)
		if slow {
			in = iotest.OneByteReader(in)
		}
		conn := receiverOf(in, o)
		got := 0
		for ; ; got++ {
			conn.PacketBuffered()
			b, err := conn.ReadPacket()
			if err != nil {
				if _, again := conn.ReadPacket(); again != err {
					t.Fatalf("%v, then %v", err, again)
				}
				break
			}
			if got >= len(contents) || !bytes.Equal(b, contents[got]) {
				t.Fatalf("packet %d was never sealed", got)
			}
		}
		for i, end := range ends {
			if whole := end <= intact; whole != (i < got) {
				t.Fatalf("%d packets delivered; packet %d ends at %d, but only %d bytes are intact", got, i, end, intact)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f, "ellswift_decode_test_vectors.csv") {
		f.Add(unhex(f, v["ellswift"]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var key [KeySize]byte
		copy(key[:], b)
		checkDecode(t, &key)
	})
}

func FuzzECDH(f *testing.F) {
	for _, v := range vectors(f, "packet_encoding_test_vectors.csv") {
		f.Add(unhex(f, v["in_priv_ours"]), unhex(f, v["in_ellswift_theirs"]), true)
	}
	f.Fuzz(func(t *testing.T, scalar, key []byte, initiator bool) {
		var k privateKey
		var theirs [KeySize]byte
		copy(k.scalar[:], scalar)
		copy(theirs[:], key)
		checkECDH(t, &k, &theirs, initiator)
	})
}
