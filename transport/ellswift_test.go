package transport

import (
	"bytes"
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

func fieldOf(t testing.TB, s string) (f field) {
	t.Helper()
	f.SetByteSlice(unhex(t, s))
	f.Normalize()
	return f
}

func TestEllswiftDecodeVectors(t *testing.T) {
	for i, v := range vectors(t, "ellswift_decode_test_vectors.csv") {
		x, y := decode((*[KeySize]byte)(unhex(t, v["ellswift"])))
		if got := hex.EncodeToString(x.Bytes()[:]); got != v["x"] {
			t.Errorf("row %d (%s): x = %s, want %s", i, v["comment"], got, v["x"])
		}
		g := curve(&x)
		if y2 := new(field).SquareVal(&y).Normalize(); !y2.Equals(&g) {
			t.Errorf("row %d: (x, y) is not on the curve", i)
		}
	}
}

func TestXSwiftECInvVectors(t *testing.T) {
	found := 0
	for i, v := range vectors(t, "xswiftec_inv_test_vectors.csv") {
		u, x := fieldOf(t, v["u"]), fieldOf(t, v["x"])
		for c := range 8 {
			want := v["case"+string(rune('0'+c))+"_t"]
			got := ""
			if r, ok := xswiftecInv(&x, &u, c); ok {
				got = hex.EncodeToString(r.Bytes()[:])
				found++
				if back, _ := xswiftec(u, r); !back.Normalize().Equals(&x) {
					t.Errorf("row %d case %d: t does not decode to x", i, c)
				}
			}
			if got != want {
				t.Errorf("row %d case %d: t = %q, want %q", i, c, got, want)
			}
		}
	}
	if found == 0 {
		t.Error("no case had a solution")
	}
}

// Random pairs, and all the pairs around zero and the field's order, decode as
// btcec's ellswift has them.
func TestDecodeAgainstBtcec(t *testing.T) {
	edges := [][]byte{
		make([]byte, 32),
		append(make([]byte, 31), 1),
		unhex(t, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2e"),
		unhex(t, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
		unhex(t, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30"),
		bytes.Repeat([]byte{0xff}, 32),
	}
	check := func(key [KeySize]byte) {
		var u, v field
		u.SetByteSlice(key[:32])
		v.SetByteSlice(key[32:])
		want, err := ellswift.XSwiftEC(u.Normalize(), v.Normalize())
		if err != nil {
			t.Fatalf("%x: the reference says %v", key, err)
		}
		got, _ := decode(&key)
		if !got.Equals(want) {
			t.Errorf("%x: x = %v, want %v", key, got, want)
		}
	}
	for _, u := range edges {
		for _, v := range edges {
			check([KeySize]byte(append(append([]byte{}, u...), v...)))
		}
	}
	for range 200 {
		check(newPrivateKey().public)
	}
}

func TestEncodeAgainstBtcec(t *testing.T) {
	for range 50 {
		k := newPrivateKey()
		want := k.scalar
		var point btcec.JacobianPoint
		btcec.ScalarBaseMultNonConst(&want, &point)
		point.ToAffine()
		var u, v field
		u.SetByteSlice(k.public[:32])
		v.SetByteSlice(k.public[32:])
		got, err := ellswift.XSwiftEC(&u, &v)
		if err != nil || !got.Equals(&point.X) {
			t.Fatalf("the reference decodes our key to %v, %v, want %v", got, err, point.X)
		}
	}
}

func TestECDHAgainstBtcec(t *testing.T) {
	for _, initiator := range []bool{true, false} {
		for range 20 {
			ours := newPrivateKey()
			ref, theirs, err := ellswift.EllswiftCreate()
			if err != nil {
				t.Fatal(err)
			}
			want, err := ellswift.V2Ecdh(ref, ours.public, theirs, !initiator)
			if err != nil {
				t.Fatal(err)
			}
			if got := ours.ecdh(&theirs, initiator); got != [32]byte(*want) {
				t.Fatalf("secret %x, the reference has %x", got, *want)
			}
		}
	}
}

func BenchmarkKeyCreation(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			newPrivateKey()
		}
	})
	b.Run("btcec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ellswift.EllswiftCreate()
		}
	})
}

func BenchmarkECDH(b *testing.B) {
	ours := newPrivateKey()
	ref, theirs, _ := ellswift.EllswiftCreate()
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ours.ecdh(&theirs, true)
		}
	})
	b.Run("btcec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ellswift.V2Ecdh(ref, ours.public, theirs, true)
		}
	})
}
