package transport

import (
	"bytes"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
)

// differential runs a random comparison with another implementation a thousand times, or CASES
// times.
func differential(t *testing.T, compare func()) {
	t.Helper()
	t.Parallel()
	for range cases(t, 1000) {
		compare()
	}
}

func cases(t testing.TB, def int) int {
	t.Helper()
	s := os.Getenv("CASES")
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal("CASES is not a number")
	}
	return n
}

// refKey returns btcec's private key for scalar.
func refKey(scalar *[32]byte) *btcec.PrivateKey {
	k, _ := btcec.PrivKeyFromBytes(scalar[:])
	return k
}

// checkECDH compares the secret with btcec's. Any scalar but 0 modulo n is valid.
func checkECDH(t testing.TB, k *privateKey, theirs *[KeySize]byte, initiator bool) {
	t.Helper()
	ref := refKey(&k.scalar)
	if ref.Key.IsZero() {
		return
	}
	want, err := ellswift.V2Ecdh(ref, *theirs, k.public, initiator)
	if err != nil {
		t.Fatal(err)
	}
	var got [32]byte
	if k.ecdh(&got, theirs, initiator); got != [32]byte(*want) {
		t.Fatalf("scalar %x, key %x: secret %x, the reference has %x", k.scalar, theirs[:], got, *want)
	}
}

func TestECDHEdges(t *testing.T) {
	scalars := []string{
		"0000000000000000000000000000000000000000000000000000000000000001",
		"0000000000000000000000000000000000000000000000000000000000000002",
		"7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0", // (n-1)/2
		"7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1",
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd036413f", // n-2
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
	}
	for _, s := range scalars {
		k := &privateKey{scalar: [32]byte(unhex(t, s))}
		x := k.publicX()
		k.encode(&x)
		checkPublic(t, k)
		for _, v := range vectors(t, "ellswift_decode_test_vectors.csv") {
			checkECDH(t, k, (*[KeySize]byte)(unhex(t, v["ellswift"])), true)
		}
	}
}

func TestECDHAgainstBtcec(t *testing.T) {
	initiator := false
	differential(t, func() {
		initiator = !initiator
		ours := newPrivateKey()
		_, theirs, err := ellswift.EllswiftCreate()
		if err != nil {
			t.Fatal(err)
		}
		checkECDH(t, ours, &theirs, initiator)
	})
}

// checkPublic decodes our encoding with btcec and compares with btcec's multiplication.
func checkPublic(t testing.TB, k *privateKey) {
	t.Helper()
	want := refKey(&k.scalar).PubKey().X()
	got, err := ellswift.XSwiftEC(refField(k.public[:32]), refField(k.public[32:]))
	if err != nil || !bytes.Equal(got.Bytes()[:], want.FillBytes(make([]byte, 32))) {
		t.Fatalf("scalar %x: the reference decodes %x to %v, %v, want %x", k.scalar, k.public, got, err, want)
	}
}

func TestCreationAgainstBtcec(t *testing.T) {
	differential(t, func() { checkPublic(t, newPrivateKey()) })
}

// chiSquare returns the statistic of counts that should be equal, in standard deviations from its
// mean.
func chiSquare(counts []int) (sigmas float64) {
	total := 0
	for _, n := range counts {
		total += n
	}
	expected := float64(total) / float64(len(counts))
	for _, n := range counts {
		d := float64(n) - expected
		sigmas += d * d / expected
	}
	freedom := float64(len(counts) - 1)
	return (sigmas - freedom) / math.Sqrt(2*freedom)
}

// Encodings of one public key or of many look like random bytes, and all cases are equally likely.
// The limits (nine sigmas for a byte, six for all bytes, ten for the cases) are exceeded by chance
// at most once in 10⁸ runs.
func TestEncodingsAreUniform(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]*privateKey{"many keys": nil, "one key": newPrivateKey()} {
		t.Run(name, func(t *testing.T) {
			var values [KeySize][256]int
			var byCase [8]int
			for range cases(t, 5_000) {
				k := key
				if k == nil {
					k = newPrivateKey()
				}
				x := k.publicX()
				k.encode(&x)
				for i, b := range k.public {
					values[i][b]++
				}
				byCase[caseOf(t, &k.public, &x)]++
			}
			var sum float64
			for i := range values {
				sigmas := chiSquare(values[i][:])
				if sum += sigmas; sigmas > 9 {
					t.Errorf("byte %d is %.1f sigmas from uniform", i, sigmas)
				}
			}
			if sum /= math.Sqrt(KeySize); math.Abs(sum) > 6 {
				t.Errorf("all bytes are %.1f sigmas from uniform", sum)
			}
			if sigmas := chiSquare(byCase[:]); sigmas > 10 {
				t.Errorf("the cases are %.1f sigmas from uniform: %v", sigmas, byCase)
			}
			t.Logf("bytes %+.1f, cases %+.1f sigmas, %v", sum, chiSquare(byCase[:]), byCase)
		})
	}
}

// caseOf returns the case of the inverse map that gives key, which encodes x.
func caseOf(t testing.TB, key *[KeySize]byte, x *field) int {
	t.Helper()
	u, want := fieldOf(key[:32]), fieldOf(key[32:])
	found := -1
	for c := range 8 {
		var v field
		if xswiftecInv(&v, x, &u, c) && v.Equal(&want) {
			if found >= 0 {
				t.Errorf("%x: both case %d and case %d give it", key[:], found, c)
			}
			found = c
		}
	}
	if found < 0 {
		t.Fatalf("%x: no case gives it", key[:])
	}
	return found
}

// BenchmarkKeyExchange measures one side: key creation and ECDH.
func BenchmarkKeyExchange(b *testing.B) {
	keys := randomKeys()
	b.Run("impl=ours", func(b *testing.B) {
		var secret [32]byte
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			newPrivateKey().ecdh(&secret, &keys[i%len(keys)], true)
		}
	})
	b.Run("impl=btcec", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k, public, _ := ellswift.EllswiftCreate()
			ellswift.V2Ecdh(k, keys[i%len(keys)], public, true)
		}
	})
}

func BenchmarkKeyCreation(b *testing.B) {
	b.Run("impl=ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			newPrivateKey()
		}
	})
	b.Run("impl=btcec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ellswift.EllswiftCreate()
		}
	})
}

func BenchmarkECDH(b *testing.B) {
	keys := randomKeys()
	k := newPrivateKey()
	ref := refKey(&k.scalar)
	b.Run("impl=ours", func(b *testing.B) {
		var secret [32]byte
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k.ecdh(&secret, &keys[i%len(keys)], true)
		}
	})
	b.Run("impl=btcec", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			ellswift.V2Ecdh(ref, keys[i%len(keys)], k.public, true)
		}
	})
}
