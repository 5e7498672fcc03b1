package secp256k1

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// order is the number of points of the curve, n, least significant limb first.
var order = [4]uint64{0xbfd25e8cd0364141, 0xbaaedce6af48a03b, 0xfffffffffffffffe, 0xffffffffffffffff}

// IsScalar reports whether the big-endian k is a private key, from 1 to n-1.
func IsScalar(k *[Size]byte) bool {
	var borrow, any uint64
	for i := range order {
		limb := binary.BigEndian.Uint64(k[24-8*i:])
		any |= limb
		_, borrow = bits.Sub64(limb, order[i], borrow)
	}
	return borrow&((any|-any)>>63) == 1
}

// digits is a scalar in radix 16, least significant digit first, each from -8
// to 7, the last one 0 or 1.
type digits [65]int8

// set sets d to the big-endian scalar k.
func (d *digits) set(k *[Size]byte) {
	carry := int8(0)
	for i := range 64 {
		v := int8(k[31-i/2]>>(4*(i&1))&15) + carry // from 0 to 16
		carry = (v + 8) >> 4                       // 1 if v ≥ 8
		d[i] = v - carry<<4
	}
	d[64] = carry
}

// isEqual returns all ones if a and b, both from 0 to 8, are equal, or else 0.
func isEqual(a, b int8) uint64 { return -(uint64(int64(a^b)-1) >> 63) }

// split returns the absolute value of v, and all ones if v < 0, or else 0.
func split(v int8) (abs int8, negative uint64) {
	sign := v >> 7
	return (v ^ sign) - sign, uint64(int64(sign))
}

// multiples are 1 to 8 times a point.
type multiples struct {
	affineMultiples
	z [8]Element
}

// affineMultiples are multiples with Z = 1.
type affineMultiples struct{ x, y [8]Element }

func (m *multiples) set(p *Point) {
	t := *p
	for i := range m.z {
		m.x[i], m.y[i], m.z[i] = t.X, t.Y, t.Z
		t.add(&t, p)
	}
}

// set sets m to the multiples of p, which is not secret.
func (m *affineMultiples) set(p *Point) {
	var t multiples
	t.set(p)
	for i := range t.z {
		var inverse Element
		inverse.Invert(&t.z[i])
		m.x[i].Mul(&t.x[i], &inverse)
		m.y[i].Mul(&t.y[i], &inverse)
	}
}

// pick sets r to v times the point.
func (m *multiples) pick(r *Point, v int8) {
	abs := m.affineMultiples.pick(&r.X, &r.Y, v)
	r.Z.pick(&m.z, abs)
	r.Y[0] |= isEqual(abs, 0) & 1 // infinity
}

// pick sets x and y to v times the point, and to 0 if v is 0, and returns the absolute value
// of v.
func (m *affineMultiples) pick(x, y *Element, v int8) int8 {
	abs, negative := split(v)
	x.pick(&m.x, abs)
	y.pick(&m.y, abs)
	var minus Element
	y.Select(minus.Neg(y), negative)
	return abs
}

// pick sets r to m[i-1], and to 0 if i is 0. It reads all of m, whatever i is.
func (r *Element) pick(m *[8]Element, i int8) {
	var t0, t1, t2, t3 uint64
	for j := range m {
		mask := isEqual(i, int8(j+1))
		t0 |= mask & m[j][0]
		t1 |= mask & m[j][1]
		t2 |= mask & m[j][2]
		t3 |= mask & m[j][3]
	}
	*r = Element{t0, t1, t2, t3}
}

// Mul sets r to k·p, which is k₁·p + k₂·λp. The two scalars have half the size, and share
// the doublings.
func (r *Point) Mul(k *[Size]byte, p *Point) *Point {
	var d [2]digits
	var m multiples
	var t Point
	m.set(p) // first, so that the stack grows before a secret is on it
	decompose(&d, k)
	*r = Point{Y: Element{1}}
	for i := halfDigits - 1; i >= 0; i-- {
		r.double(r).double(r).double(r).double(r)
		m.pick(&t, d[0][i])
		r.add(r, &t)
		m.pick(&t, d[1][i])
		t.X.Mul(&t.X, &beta)
		r.add(r, &t)
	}
	d, t = [2]digits{}, Point{}
	return r
}

var generator = Point{
	X: Element{0x59f2815b16f81798, 0x029bfcdb2dce28d9, 0x55a06295ce870b07, 0x79be667ef9dcbbac},
	Y: Element{0x9c47d08ffb10d4b8, 0xfd17b448a6855419, 0x5da4fbfc0e1108a8, 0x483ada7726a3c465},
	Z: Element{1},
}

// generatorTable has in row i the multiples of 256ⁱ times the generator. It takes 17 KiB
// and is computed when the first key is made.
var generatorTable = sync.OnceValue(func() *[33]affineMultiples {
	rows := new([33]affineMultiples)
	p := generator
	for i := range rows {
		rows[i].set(&p)
		for range 8 {
			p.double(&p)
		}
	}
	return rows
})

// MulGenerator sets r to k·G. Half of the digits of k stand for multiples of
// 256ⁱ·G, the other half for 16 times those.
func (r *Point) MulGenerator(k *[Size]byte) *Point {
	rows := generatorTable()
	var d digits
	d.set(k)
	*r = Point{Y: Element{1}}
	for i := 1; i < len(d); i += 2 {
		r.addMultiple(&rows[i/2], d[i])
	}
	r.double(r).double(r).double(r).double(r)
	for i := 0; i < len(d); i += 2 {
		r.addMultiple(&rows[i/2], d[i])
	}
	d = digits{}
	return r
}

// addMultiple adds v times m's point to r. Where v is 0, it computes a sum, too, which is
// not used.
func (r *Point) addMultiple(m *affineMultiples, v int8) {
	var x, y Element
	var sum Point
	nonzero := ^isEqual(m.pick(&x, &y, v), 0)
	sum.addAffine(r, &x, &y)
	r.X.Select(&sum.X, nonzero)
	r.Y.Select(&sum.Y, nonzero)
	r.Z.Select(&sum.Z, nonzero)
}
