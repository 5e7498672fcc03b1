package secp256k1

import (
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
)

var (
	two256 = new(big.Int).Lsh(big.NewInt(1), 256)
	prime  = btcec.S256().P
)

func (r *Element) big() *big.Int {
	n := new(big.Int)
	for i := 3; i >= 0; i-- {
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(r[i]))
	}
	return n
}

func randomBytes() (b [Size]byte) {
	rand.Read(b[:])
	return b
}

func randomElement() (r Element) {
	b := randomBytes()
	return *r.SetBytes(&b)
}

// edgeElements are elements whose limbs are at thresholds: carries, the prime's limbs, the folding
// constant.
func edgeElements() (all []Element) {
	limbs := []uint64{0, 1, ^uint64(fold - 1), ^uint64(0)}
	for _, a := range limbs {
		for _, b := range limbs {
			for _, c := range limbs {
				for _, d := range limbs {
					all = append(all, Element{a, b, c, d})
				}
			}
		}
	}
	return all
}

// same checks that r equals want modulo p, and that its bytes are the least residue.
func same(t testing.TB, what string, r *Element, want *big.Int, operands ...*Element) {
	t.Helper()
	want.Mod(want, prime)
	var b [Size]byte
	r.PutBytes(&b)
	if got := new(big.Int).SetBytes(b[:]); got.Cmp(want) != 0 {
		for _, o := range operands {
			t.Logf("operand %x", *o)
		}
		t.Fatalf("%s: got %x, want %x", what, got, want)
	}
}

// checkOne checks all operations with one operand.
func checkOne(t testing.TB, a *Element) {
	t.Helper()
	n := a.big()
	var r Element
	var b [Size]byte
	n.FillBytes(b[:])
	same(t, "SetBytes", r.SetBytes(&b), new(big.Int).Set(n), a)
	same(t, "Neg", r.Neg(a), new(big.Int).Neg(n), a)
	same(t, "Square", r.Square(a), new(big.Int).Mul(n, n), a)
	r = *a
	same(t, "Square in place", r.Square(&r), new(big.Int).Mul(n, n), a)
	same(t, "MulSmall", r.MulSmall(a, b3), new(big.Int).Mul(n, big.NewInt(b3)), a)
	same(t, "MulSmall", r.MulSmall(a, 1<<30-1), new(big.Int).Mul(n, big.NewInt(1<<30-1)), a)
	if zero := new(big.Int).Mod(n, prime).Sign() == 0; a.IsZero() != zero {
		t.Fatalf("IsZero of %x: %v", *a, !zero)
	}
}

// checkTwo checks all operations with two operands, also with the receiver as one of them.
func checkTwo(t testing.TB, a, b *Element) {
	t.Helper()
	m, n, want := a.big(), b.big(), new(big.Int)
	var r Element
	same(t, "Add", r.Add(a, b), want.Add(m, n), a, b)
	same(t, "Sub", r.Sub(a, b), want.Sub(m, n), a, b)
	same(t, "Mul", r.Mul(a, b), want.Mul(m, n), a, b)
	n2, m2 := new(big.Int).Mul(n, n), new(big.Int).Mul(m, m)
	same(t, "MulAdd", r.MulAdd(a, a, b, b), want.Add(m2, n2), a, b)
	r = *a
	same(t, "MulAdd into a", r.MulAdd(&r, b, &r, &r), want.Mul(m, n).Add(want, m2), a, b)
	r = *b
	same(t, "MulAdd into b", r.MulAdd(&r, &r, a, &r), want.Mul(m, n).Add(want, n2), a, b)
	r = *a
	same(t, "Mul into a", r.Mul(&r, b), want.Mul(m, n), a, b)
	r = *b
	same(t, "Mul into b", r.Mul(a, &r), want, a, b)
	if equal := want.Sub(m, n).Mod(want, prime).Sign() == 0; a.Equal(b) != equal {
		t.Fatalf("Equal of %x, %x: %v", *a, *b, !equal)
	}
	r = *a
	if r.Select(b, 0); r != *a {
		t.Fatal("Select by 0 returns the other element")
	}
	if r.Select(b, ^uint64(0)); r != *b {
		t.Fatal("Select by ones does not return the other element")
	}
}

// checkRoots checks the operations that need an exponentiation.
func checkRoots(t testing.TB, a, d *Element) {
	t.Helper()
	n, m := a.big(), d.big()
	var r Element
	inverse := new(big.Int).Exp(n, new(big.Int).Sub(prime, big.NewInt(2)), prime)
	same(t, "Invert", r.Invert(a), inverse, a)

	square := big.Jacobi(new(big.Int).Mod(n, prime), prime) >= 0
	if a.IsSquareVartime() != square {
		t.Fatalf("IsSquareVartime of %x: %v", *a, !square)
	}
	quarter := new(big.Int).Rsh(new(big.Int).Add(prime, big.NewInt(1)), 2)
	same(t, "Sqrt", r.Sqrt(a), new(big.Int).Exp(n, quarter, prime), a)
	if r.Square(&r).Equal(a) != square {
		t.Fatalf("the square of Sqrt of %x: %v", *a, !square)
	}

	ratio := new(big.Int).Exp(m, new(big.Int).Sub(prime, big.NewInt(2)), prime)
	ratio.Mul(ratio, n)
	same(t, "SqrtRatio", r.SqrtRatio(a, d), ratio.Exp(ratio, quarter, prime), a, d)
}

func TestElementEdges(t *testing.T) {
	all := edgeElements()
	for i := range all {
		checkOne(t, &all[i])
		checkRoots(t, &all[i], &all[(i*7+3)%len(all)])
		for j := range all {
			checkTwo(t, &all[i], &all[j])
		}
	}
}

func TestElementRandom(t *testing.T) {
	for range 1000 {
		a, b := randomElement(), randomElement()
		checkOne(t, &a)
		checkTwo(t, &a, &b)
		checkRoots(t, &a, &b)
	}
}

// The carry out of the last addition leaves something small. Products for which that is nearly 2⁶⁴
// or more are so rare that no random test finds them, and a reduction that folds this carry into
// the lowest limb only is wrong for them.
func TestFoldLastCarry(t *testing.T) {
	f := new(big.Int).SetUint64(fold)
	tested := 0
	for _, hi := range edgeElements() {
		for _, left := range []uint64{0, 1, ^uint64(fold), ^uint64(fold - 1), ^uint64(0)} {
			for _, over := range []uint64{0, 1} { // left + over·2⁶⁴ is what is left
				folded := new(big.Int).Mul(hi.big(), f)
				// lo + hi·fold = top·2²⁵⁶ + (2²⁵⁶ - top·fold + left)
				top := new(big.Int).Rsh(folded, 256)
				for range 2 {
					rest := new(big.Int).SetUint64(over)
					rest.Lsh(rest, 64).Add(rest, new(big.Int).SetUint64(left))
					lo := new(big.Int).Mul(top, new(big.Int).Sub(two256, f))
					lo.Add(lo, two256).Add(lo, rest).Sub(lo, folded)
					top.Add(top, big.NewInt(1))
					if lo.Sign() < 0 || lo.Cmp(two256) >= 0 {
						continue
					}
					var b [Size]byte
					lo.FillBytes(b[:])
					var l, r Element
					l.SetBytes(&b)
					r.foldTop(row(l[0], l[1], l[2], l[3], hi[0], hi[1], hi[2], hi[3], fold))
					want := new(big.Int).Mul(hi.big(), two256)
					same(t, "foldTop", &r, want.Add(want, lo), &l, &hi)
					tested++
				}
			}
		}
	}
	if tested < 100 {
		t.Errorf("only %d cases tested", tested)
	}
}

// Compare with btcec's field, an implementation other than math/big.
func TestElementAgainstBtcec(t *testing.T) {
	for range 1000 {
		ab, bb := randomBytes(), randomBytes()
		var a, b, r Element
		var fa, fb, fr btcec.FieldVal
		a.SetBytes(&ab)
		b.SetBytes(&bb)
		fa.SetBytes(&ab)
		fb.SetBytes(&bb)
		check := func(what string) {
			t.Helper()
			var got [Size]byte
			r.PutBytes(&got)
			if want := *fr.Normalize().Bytes(); got != want {
				t.Errorf("%s of %x, %x: got %x, want %x", what, ab, bb, got, want)
			}
		}
		r.Mul(&a, &b)
		fr.Mul2(&fa, &fb)
		check("Mul")
		r.Add(&a, &b)
		fr.Add2(&fa, &fb)
		check("Add")
		r.Invert(&a)
		fr.Set(&fa).Inverse()
		check("Invert")
		r.Sqrt(&a)
		if got, want := a.IsSquareVartime(), fr.SquareRootVal(&fa); got != want {
			t.Errorf("IsSquareVartime of %x: %v", ab, got)
		}
		check("Sqrt")
	}
}

func FuzzElement(f *testing.F) {
	for _, e := range edgeElements()[200:] {
		var b [2 * Size]byte
		e.big().FillBytes(b[:Size])
		e.big().FillBytes(b[Size:])
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var b [2 * Size]byte
		copy(b[:], in)
		var x, y Element
		x.SetBytes((*[Size]byte)(b[:Size]))
		y.SetBytes((*[Size]byte)(b[Size:]))
		checkOne(t, &x)
		checkTwo(t, &x, &y)
		checkRoots(t, &x, &y)
	})
}

func BenchmarkElement(b *testing.B) {
	x, y := randomElement(), randomElement()
	for _, op := range []struct {
		name string
		do   func()
	}{
		{"Add", func() { x.Add(&x, &y) }},
		{"Sub", func() { x.Sub(&x, &y) }},
		{"MulSmall", func() { x.MulSmall(&x, b3) }},
		{"Mul", func() { x.Mul(&x, &y) }},
		{"MulAdd", func() { x.MulAdd(&x, &y, &y, &y) }},
		{"Square", func() { x.Square(&x) }},
		{"Invert", func() { x.Invert(&x) }},
		{"Sqrt", func() { x.Sqrt(&x) }},
		{"IsSquareVartime", func() { x.Add(&x, &y); x.IsSquareVartime() }},
	} {
		b.Run(op.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				op.do()
			}
		})
	}
}
