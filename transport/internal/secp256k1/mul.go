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
type multiples [8]Point

func (m *multiples) set(p *Point) {
	m[0] = *p
	for i := 1; i < len(m); i++ {
		m[i].add(&m[i-1], p)
	}
}

// pick sets r to v times the point. It reads every multiple, whatever v is.
func (m *multiples) pick(r *Point, v int8) {
	abs, negative := split(v)
	*r = Point{Y: Element{1}}
	for i := range m {
		mask := isEqual(abs, int8(i+1))
		r.X.Select(&m[i].X, mask)
		r.Y.Select(&m[i].Y, mask)
		r.Z.Select(&m[i].Z, mask)
	}
	var minus Element
	r.Y.Select(minus.Neg(&r.Y), negative)
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

// generatorTable has in row i the multiples of 256ⁱ times the generator. It takes 25 KiB
// and is computed when the first key is made.
var generatorTable = sync.OnceValue(func() *[33]multiples {
	rows := new([33]multiples)
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
	var t Point
	d.set(k)
	*r = Point{Y: Element{1}}
	for i := 1; i < len(d); i += 2 {
		rows[i/2].pick(&t, d[i])
		r.add(r, &t)
	}
	r.double(r).double(r).double(r).double(r)
	for i := 0; i < len(d); i += 2 {
		rows[i/2].pick(&t, d[i])
		r.add(r, &t)
	}
	d, t = digits{}, Point{}
	return r
}
