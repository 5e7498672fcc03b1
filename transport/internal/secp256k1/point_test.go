package secp256k1

import (
	"math/big"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
)

// edgeScalars are scalars at thresholds: the ends of the range, their halves, single bits, and
// digits that all carry or do not.
func edgeScalars() (all [][Size]byte) {
	add := func(n *big.Int) {
		var b [Size]byte
		n.Mod(n, two256).FillBytes(b[:])
		all = append(all, b)
	}
	n := btcec.S256().N
	for i := int64(-9); i <= 9; i++ {
		add(new(big.Int).Add(big.NewInt(i), n))                      // around n
		add(new(big.Int).Add(big.NewInt(i), new(big.Int).Rsh(n, 1))) // around n/2
		add(new(big.Int).Add(big.NewInt(i), big.NewInt(9)))          // small
		add(new(big.Int).Sub(two256, big.NewInt(i+10)))              // above n
	}
	for i := uint(0); i < 256; i += 7 {
		add(new(big.Int).Lsh(big.NewInt(1), i))
		add(new(big.Int).Sub(n, new(big.Int).Lsh(big.NewInt(1), i)))
	}
	for d := range 16 {
		var b [Size]byte
		for i := range b {
			b[i] = byte(d<<4 | d)
		}
		all = append(all, b)
	}
	return all
}

// reference returns btcec's k·p; a nil p is the generator.
func reference(k *[Size]byte, p *btcec.JacobianPoint) (r btcec.JacobianPoint) {
	var s btcec.ModNScalar
	s.SetBytes(k)
	if p == nil {
		btcec.ScalarBaseMultNonConst(&s, &r)
	} else {
		btcec.ScalarMultNonConst(&s, p, &r)
	}
	r.ToAffine()
	return r
}

// samePoint checks that p, made affine, has the coordinates of want.
func samePoint(t testing.TB, what string, p *Point, want *btcec.JacobianPoint) {
	t.Helper()
	infinity := want.X.IsZero() && want.Y.IsZero()
	if p.Z.IsZero() != infinity {
		t.Fatalf("%s: infinity is %v, want %v", what, !infinity, infinity)
	}
	var x, y Element
	p.AffineX(&x)
	y.Mul(y.Invert(&p.Z), &p.Y)
	if infinity {
		y = Element{}
	}
	var gotX, gotY [Size]byte
	x.PutBytes(&gotX)
	y.PutBytes(&gotY)
	if gotX != *want.X.Bytes() || gotY != *want.Y.Bytes() {
		t.Fatalf("%s: (%x, %x), want (%v, %v)", what, gotX, gotY, want.X, want.Y)
	}
}

// checkMul checks j·G and k·(j·G).
func checkMul(t testing.TB, j, k *[Size]byte) {
	t.Helper()
	var p, q Point
	want := reference(j, nil)
	samePoint(t, "MulGenerator", p.MulGenerator(j), &want)
	want = reference(k, &want)
	samePoint(t, "Mul", q.Mul(k, &p), &want)
	samePoint(t, "Mul into its operand", p.Mul(k, &p), &want)
}

func TestMulEdges(t *testing.T) {
	random := randomBytes()
	for _, k := range edgeScalars() {
		checkMul(t, &k, &random)
		checkMul(t, &random, &k)
	}
}

func TestMulRandom(t *testing.T) {
	for range 300 {
		j, k := randomBytes(), randomBytes()
		checkMul(t, &j, &k)
	}
}

// Any two of infinity, points, their opposites and their doubles are added correctly, in any
// projective form.
func TestAddIsComplete(t *testing.T) {
	j, k := randomBytes(), randomBytes()
	infinity := Point{Y: randomElement()}
	var p, q Point
	p.MulGenerator(&j)
	q.MulGenerator(&k)
	points := []Point{infinity, generator, p, q}
	for _, a := range points[1:] {
		a.Y.Neg(&a.Y)
		points = append(points, a)
	}
	for _, a := range points[1:] {
		scale := randomElement()
		a.X.Mul(&a.X, &scale)
		a.Y.Mul(&a.Y, &scale)
		a.Z.Mul(&a.Z, &scale)
		points = append(points, *new(Point).double(&a), a)
	}
	jacobian := func(p *Point) (j btcec.JacobianPoint) {
		if p.Z.IsZero() {
			return j
		}
		var x, y Element
		var b [Size]byte
		p.AffineX(&x)
		x.PutBytes(&b)
		j.X.SetBytes(&b)
		y.Mul(y.Invert(&p.Z), &p.Y)
		y.PutBytes(&b)
		j.Y.SetBytes(&b)
		j.Z.SetInt(1)
		return j
	}
	for i := range points {
		a := jacobian(&points[i])
		var want btcec.JacobianPoint
		btcec.DoubleNonConst(&a, &want)
		want.ToAffine()
		samePoint(t, "double", new(Point).double(&points[i]), &want)
		for j := range points {
			b := jacobian(&points[j])
			btcec.AddNonConst(&a, &b, &want)
			want.ToAffine()
			samePoint(t, "add", new(Point).add(&points[i], &points[j]), &want)
			if !points[j].Z.IsZero() {
				var x, y Element
				points[j].AffineX(&x)
				y.Mul(y.Invert(&points[j].Z), &points[j].Y)
				samePoint(t, "addAffine", new(Point).addAffine(&points[i], &x, &y), &want)
			}
		}
	}
}

// The digits of a scalar are in range and add up to it.
func TestDigits(t *testing.T) {
	scalars := edgeScalars()
	for range 1000 {
		scalars = append(scalars, randomBytes())
	}
	for _, k := range scalars {
		var d digits
		d.set(&k)
		sum := new(big.Int)
		for i := len(d) - 1; i >= 0; i-- {
			if d[i] < -8 || d[i] > 7 {
				t.Fatalf("%x: digit %d is out of range: %d", k, i, d[i])
			}
			sum.Lsh(sum, 4).Add(sum, big.NewInt(int64(d[i])))
		}
		if d[64] < 0 || d[64] > 1 || sum.Cmp(new(big.Int).SetBytes(k[:])) != 0 {
			t.Fatalf("%x: the digits are %v", k, d)
		}
	}
}

// Each scalar is decomposed into two that have half its size and are not negative.
func TestDecompose(t *testing.T) {
	lambda, _ := new(big.Int).SetString("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72", 16)
	scalars := edgeScalars()
	for range 10000 {
		scalars = append(scalars, randomBytes())
	}
	for _, k := range scalars {
		var d [2]digits
		decompose(&d, &k)
		var halves [2]big.Int
		for i := range d {
			for j := len(d[i]) - 1; j >= 0; j-- {
				if j >= halfDigits && d[i][j] != 0 {
					t.Fatalf("%x: digit %d is not zero: %v", k, j, d)
				}
				halves[i].Lsh(&halves[i], 4).Add(&halves[i], big.NewInt(int64(d[i][j])))
			}
			if halves[i].Sign() < 0 || halves[i].BitLen() > 130 {
				t.Fatalf("%x: half %d is out of range: %x", k, i, &halves[i])
			}
		}
		sum := new(big.Int).Mul(&halves[1], lambda)
		sum.Add(sum, &halves[0]).Sub(sum, new(big.Int).SetBytes(k[:]))
		if sum.Mod(sum, btcec.S256().N).Sign() != 0 {
			t.Fatalf("%x: the halves are %x and %x", k, &halves[0], &halves[1])
		}
	}
}

func TestIsScalar(t *testing.T) {
	for _, k := range edgeScalars() {
		n := new(big.Int).SetBytes(k[:])
		if want := n.Sign() > 0 && n.Cmp(btcec.S256().N) < 0; IsScalar(&k) != want {
			t.Errorf("%x: got %v", k, !want)
		}
	}
}

func TestAllocations(t *testing.T) {
	k := randomBytes()
	var p, q Point
	var x Element
	p.MulGenerator(&k) // creates the table
	if n := testing.AllocsPerRun(100, func() {
		p.MulGenerator(&k)
		q.Mul(&k, &p)
		q.AffineX(&x)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkPoint(b *testing.B) {
	k := randomBytes()
	var p, q Point
	var x Element
	p.MulGenerator(&k)
	q = p
	var m multiples
	m.set(&p)
	for _, op := range []struct {
		name string
		do   func()
	}{
		{"add", func() { q.add(&q, &p) }},
		{"addMultiple", func() { q.addMultiple(&m.affineMultiples, 5) }},
		{"double", func() { q.double(&q) }},
		{"pick", func() { m.pick(&q, 5) }},
		{"Mul", func() { q.Mul(&k, &p) }},
		{"MulGenerator", func() { q.MulGenerator(&k) }},
		{"AffineX", func() { p.AffineX(&x) }},
	} {
		b.Run(op.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				op.do()
			}
		})
	}
}
