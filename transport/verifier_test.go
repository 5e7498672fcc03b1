package transport

import (
	"bytes"
	"fmt"
	"testing"
)

// verifierPair returns a sealer and the verifier of its packets.
func verifierPair(t testing.TB) (*direction, *verifier) {
	t.Helper()
	var lengthKey, key [32]byte
	copy(lengthKey[:], testBytes(32, 1))
	copy(key[:], testBytes(32, 2))
	s, err := newDirection(&lengthKey, &key)
	if err != nil {
		t.Fatal(err)
	}
	return s, newVerifier(&lengthKey, &key)
}

// verify passes one packet to v in chunks.
func verify(v *verifier, packet, aad []byte, chunk func() int) (n int, whole, decoy bool, err error) {
	for n < len(packet) && !whole && err == nil {
		var took int
		took, whole, decoy, err = v.receive(packet[n:min(len(packet), n+chunk())], aad)
		n += took
	}
	return n, whole, decoy, err
}

// The verifier accepts what the AEAD of golang.org/x/crypto sealed, over rekeyings, and packets
// after the last one are opened as usual.
func TestVerifierThenOpener(t *testing.T) {
	for _, packets := range []int{1, 2, 223, 224, 225, 447, 448, 449, 1000} {
		for _, c := range chunkings() {
			t.Run(fmt.Sprint(packets, c.name), func(t *testing.T) {
				s, v := verifierPair(t)
				for i := range packets {
					size, aad := i*7%300, testBytes(i%40, uint64(i))
					packet := s.seal(nil, testBytes(size, uint64(i)), aad, i%3 == 0)
					n, whole, decoy, err := verify(v, append(packet, 1, 2, 3), aad, c.next)
					if n != len(packet) || !whole || decoy != (i%3 == 0) || err != nil {
						t.Fatalf("packet %d: %d of %d bytes, whole %v, decoy %v, %v", i, n, len(packet), whole, decoy, err)
					}
				}
				o, err := v.finish()
				if err != nil {
					t.Fatal(err)
				}
				if v.key != [32]byte{} {
					t.Error("the key was not wiped")
				}
				for i := range 230 {
					want := testBytes(i, 5)
					packet := s.seal(nil, want, nil, false)
					if n, err := o.length.openLength(packet); n != i || err != nil {
						t.Fatalf("packet %d after it: got %d, %v", i, n, err)
					}
					if got, _, err := o.open(packet[lengthSize:], nil); !bytes.Equal(got, want) || err != nil {
						t.Fatalf("packet %d after it: %v", i, err)
					}
				}
			})
		}
	}
}

// The verifier accepts exactly the packets that the AEAD of golang.org/x/crypto opens.
func FuzzVerifier(f *testing.F) {
	f.Add([]byte("contents"), []byte("garbage"), []byte("garbage"), uint16(0), byte(0), uint16(1), uint16(0))
	f.Add([]byte{}, []byte{}, []byte{}, uint16(3), byte(1), uint16(7), uint16(223))
	f.Add(make([]byte, 64), make([]byte, 16), make([]byte, 15), uint16(20), byte(0x80), uint16(500), uint16(224))
	f.Add(make([]byte, 300), []byte{1}, []byte{1}, uint16(4), byte(0), uint16(16), uint16(225))
	f.Fuzz(func(t *testing.T, contents, sealedWith, aad []byte, at uint16, flip byte, chunk, before uint16) {
		s, v := verifierPair(t)
		_, ours := verifierPair(t)
		o, err := ours.finish()
		if err != nil {
			t.Fatal(err)
		}
		next := func() int { return 1 + int(chunk) }
		for range before % 500 {
			packet := s.seal(nil, nil, nil, true)
			if _, whole, decoy, err := verify(v, packet, nil, next); !whole || !decoy || err != nil {
				t.Fatal(whole, decoy, err)
			}
			o.length.openLength(packet)
			if _, _, err := o.open(packet[lengthSize:], nil); err != nil {
				t.Fatal(err)
			}
		}
		packet := s.seal(nil, contents, sealedWith, flip&1 != 0)
		packet[lengthSize+int(at)%(len(packet)-lengthSize)] ^= flip // not the length, which is not authenticated by itself
		n, whole, decoy, err := verify(v, packet, aad, next)
		o.length.openLength(packet)
		_, wantDecoy, wantErr := o.open(packet[lengthSize:], aad)
		if n != len(packet) || err != wantErr || whole != (wantErr == nil) || whole && decoy != wantDecoy {
			t.Fatalf("%d of %d bytes, whole %v, decoy %v, %v; x/crypto has %v, %v", n, len(packet), whole, decoy, err, wantDecoy, wantErr)
		}
	})
}

func BenchmarkVerifier(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("size=%d", n), func(b *testing.B) {
			s, v := verifierPair(b)
			buf := make([]byte, packetSize(n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				verify(v, s.seal(buf[:0], buf[Headroom:Headroom+n], nil, false), nil, all)
			}
		})
	}
}
