package transport

import (
	"bytes"
	"crypto/rand"
	"encoding/csv"
	"encoding/hex"
	"os"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
)

// vectors reads one of BIP324's tables: a map per row, by column.
func vectors(t testing.TB, name string) []map[string]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, column := range rows[0] {
			m[column] = row[i]
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no rows", name)
	}
	return out
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fieldOf(b []byte) (f field) {
	f.SetBytes((*[32]byte)(b))
	return f
}

func bytesOf(f *field) []byte {
	var b [32]byte
	f.PutBytes(&b)
	return b[:]
}

// decodedX returns the x coordinate that key encodes.
func decodedX(key *[KeySize]byte) []byte {
	p := decode(key)
	var x field
	p.AffineX(&x)
	return bytesOf(&x)
}

// refField returns btcec's element for b.
func refField(b []byte) *btcec.FieldVal {
	f := new(btcec.FieldVal)
	f.SetByteSlice(b)
	return f.Normalize()
}

func TestEllswiftDecodeVectors(t *testing.T) {
	for i, v := range vectors(t, "ellswift_decode_test_vectors.csv") {
		key := [KeySize]byte(unhex(t, v["ellswift"]))
		if got := hex.EncodeToString(decodedX(&key)); got != v["x"] {
			t.Errorf("row %d (%s): x = %s, want %s", i, v["comment"], got, v["x"])
		}
		checkDecode(t, &key)
	}
}

func TestXSwiftECInvVectors(t *testing.T) {
	var found [8]int
	for i, v := range vectors(t, "xswiftec_inv_test_vectors.csv") {
		u, x := fieldOf(unhex(t, v["u"])), fieldOf(unhex(t, v["x"]))
		for c := range found {
			want := v["case"+string(rune('0'+c))+"_t"]
			got := ""
			var r field
			if xswiftecInv(&r, &x, &u, c) {
				got = hex.EncodeToString(bytesOf(&r))
				found[c]++
				key := [KeySize]byte(append(bytesOf(&u), bytesOf(&r)...))
				if back := decodedX(&key); !bytes.Equal(back, bytesOf(&x)) {
					t.Errorf("row %d case %d: t decodes to %x", i, c, back)
				}
			}
			if got != want {
				t.Errorf("row %d case %d: t = %q, want %q", i, c, got, want)
			}
		}
	}
	for c, n := range found {
		if n == 0 {
			t.Errorf("case %d never had a solution", c)
		}
	}
}

// checkDecode compares decoding with btcec's ellswift, and checks that the point is on the curve,
// y²z = x³ + 7z³.
func checkDecode(t testing.TB, key *[KeySize]byte) {
	t.Helper()
	want, err := ellswift.XSwiftEC(refField(key[:32]), refField(key[32:]))
	if err != nil {
		t.Fatalf("%x: the reference fails: %v", key[:], err)
	}
	if got := decodedX(key); !bytes.Equal(got, want.Bytes()[:]) {
		t.Fatalf("%x: x = %x, want %v", key[:], got, want)
	}
	p := decode(key)
	var left, right, z3 field
	left.Square(&p.Y).Mul(&left, &p.Z)
	right.Square(&p.X).Mul(&right, &p.X)
	z3.Square(&p.Z).Mul(&z3, &p.Z).MulSmall(&z3, 7)
	if p.Z.IsZero() || !left.Equal(right.Add(&right, &z3)) {
		t.Fatalf("%x: %x is not on the curve", key[:], p)
	}
}

// edgeFields returns numbers around zero, the field's order and 2²⁵⁶.
func edgeFields(t testing.TB) [][]byte {
	return [][]byte{
		make([]byte, 32),
		append(make([]byte, 31), 1),
		append(make([]byte, 31), 2),
		unhex(t, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2e"), // p-1
		unhex(t, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"), // also 0
		unhex(t, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30"),
		bytes.Repeat([]byte{0xff}, 32),
	}
}

func TestDecodeEdges(t *testing.T) {
	edges := edgeFields(t)
	for range 20 {
		var b [32]byte
		rand.Read(b[:])
		edges = append(edges, b[:])
	}
	doubled := 0
	for _, u := range edges {
		for _, v := range edges {
			checkDecode(t, (*[KeySize]byte)(append(bytes.Clone(u), v...)))
		}
		// Both t for which u³+t²+7 = 0, if any.
		f := fieldOf(u)
		if f.IsZero() {
			f = field{1}
		}
		f = curve(&f)
		if f.Neg(&f).IsSquareVartime() {
			doubled++
			f.Sqrt(&f)
			checkDecode(t, (*[KeySize]byte)(append(bytes.Clone(u), bytesOf(&f)...)))
			f.Neg(&f)
			checkDecode(t, (*[KeySize]byte)(append(bytes.Clone(u), bytesOf(&f)...)))
		}
	}
	if doubled == 0 {
		t.Error("u³+t²+7 was never 0")
	}
}

func TestDecodeAgainstBtcec(t *testing.T) {
	differential(t, func() {
		var key [KeySize]byte
		rand.Read(key[:])
		checkDecode(t, &key)
	})
}

// checkInverse compares the result, t or that there is no t, with btcec's ellswift. x must be on
// the curve.
func checkInverse(t testing.TB, u, x []byte, c int) (found bool) {
	t.Helper()
	want := ellswift.XSwiftECInv(refField(u), refField(x), c)
	fu, fx := fieldOf(u), fieldOf(x)
	var got field
	found = xswiftecInv(&got, &fx, &fu, c)
	if found != (want != nil) || found && !bytes.Equal(bytesOf(&got), want.Bytes()[:]) {
		t.Fatalf("u %x, x %x, case %d: got %v, %x, want %v", u, x, c, found, bytesOf(&got), want)
	}
	return found
}

// The inverse map agrees at u = 0, u = x and u = -2x, and for unreduced u.
func TestInverseEdges(t *testing.T) {
	found := 0
	for range 20 {
		var key [KeySize]byte
		rand.Read(key[:])
		x := decodedX(&key)
		same, double := fieldOf(x), fieldOf(x)
		double.Add(&double, &double).Neg(&double)
		for _, u := range append(edgeFields(t), bytesOf(&same), bytesOf(&double)) {
			for c := range 8 {
				if checkInverse(t, u, x, c) {
					found++
				}
			}
		}
	}
	if found == 0 {
		t.Error("no t was ever found")
	}
}

func TestInverseAgainstBtcec(t *testing.T) {
	var found [8]int
	differential(t, func() {
		var b [KeySize + 33]byte
		rand.Read(b[:])
		x := decodedX((*[KeySize]byte)(b[33:]))
		c := int(b[32] & 7)
		if checkInverse(t, b[:32], x, c) {
			found[c]++
		}
	})
	for c, n := range found {
		if n == 0 {
			t.Errorf("case %d never had a solution", c)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	keys := randomKeys()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		decode(&keys[i%len(keys)])
	}
}

func BenchmarkEncode(b *testing.B) {
	k := newPrivateKey()
	x := k.publicX()
	b.ReportAllocs()
	for b.Loop() {
		k.encode(&x)
	}
}

// randomKeys returns different encodings, so that branch prediction does not learn one.
func randomKeys() (keys [1024][KeySize]byte) {
	for i := range keys {
		rand.Read(keys[i][:])
	}
	return keys
}
