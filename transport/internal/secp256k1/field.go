package secp256k1

import (
	"encoding/binary"
	"math/bits"
)

// Size is the size of a field element and of a scalar, in bytes.
const Size = 32

// Element is an element of the field of p = 2²⁵⁶ - 2³² - 977, as four limbs,
// the least significant first. Any value under 2²⁵⁶ is valid and represents its
// residue, so elements below 2³² + 977 have two forms; PutBytes, Equal, IsZero and
// IsSquareVartime reduce them first.
//
// The zero value is 0. Methods set the receiver, which may also be an operand, and
// return it.
type Element [4]uint64

// fold is 2²⁵⁶ mod p: a carry out of the top limb is added as fold.
const fold = 1<<32 + 977

// SetBytes sets r to the big-endian number in b, modulo p.
func (r *Element) SetBytes(b *[Size]byte) *Element {
	for i := range r {
		r[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	return r
}

// PutBytes writes the least residue of r to b, big-endian.
func (r *Element) PutBytes(b *[Size]byte) {
	t := *r
	t.reduce()
	for i := range t {
		binary.BigEndian.PutUint64(b[24-8*i:], t[i])
	}
	t = Element{}
}

// reduce makes r the least residue. r ≥ p if and only if r + fold has a carry, and then
// r - p is r + fold without it.
func (r *Element) reduce() {
	t0, carry := bits.Add64(r[0], fold, 0)
	t1, carry := bits.Add64(r[1], 0, carry)
	t2, carry := bits.Add64(r[2], 0, carry)
	t3, carry := bits.Add64(r[3], 0, carry)
	r.Select(&Element{t0, t1, t2, t3}, -carry)
}

// Select sets r to a where mask is all ones, and leaves r where mask is 0.
func (r *Element) Select(a *Element, mask uint64) *Element {
	r[0] ^= mask & (r[0] ^ a[0])
	r[1] ^= mask & (r[1] ^ a[1])
	r[2] ^= mask & (r[2] ^ a[2])
	r[3] ^= mask & (r[3] ^ a[3])
	return r
}

// IsZero reports whether r is 0.
func (r *Element) IsZero() bool {
	t := *r
	t.reduce()
	return t[0]|t[1]|t[2]|t[3] == 0
}

// Equal reports whether r and a are the same element.
func (r *Element) Equal(a *Element) bool {
	var t Element
	return t.Sub(r, a).IsZero()
}

// Add sets r to a + b.
func (r *Element) Add(a, b *Element) *Element {
	t0, carry := bits.Add64(a[0], b[0], 0)
	t1, carry := bits.Add64(a[1], b[1], carry)
	t2, carry := bits.Add64(a[2], b[2], carry)
	t3, carry := bits.Add64(a[3], b[3], carry)
	return r.addFolded(t0, t1, t2, t3, -carry&fold, 0)
}

// foldTop sets r to t, where t4 is under 2³⁵.
func (r *Element) foldTop(t0, t1, t2, t3, t4 uint64) *Element {
	hi, lo := bits.Mul64(t4, fold)
	return r.addFolded(t0, t1, t2, t3, lo, hi)
}

// addFolded sets r to t + (hi, lo), which is under 2⁹⁶. If the sum has a carry, it is
// less than (hi, lo) without it, so that adding fold for the carry causes none out of t1.
func (r *Element) addFolded(t0, t1, t2, t3, lo, hi uint64) *Element {
	t0, carry := bits.Add64(t0, lo, 0)
	t1, carry = bits.Add64(t1, hi, carry)
	t2, carry = bits.Add64(t2, 0, carry)
	t3, carry = bits.Add64(t3, 0, carry)
	t0, carry = bits.Add64(t0, -carry&fold, 0)
	t1, _ = bits.Add64(t1, 0, carry)
	r[0], r[1], r[2], r[3] = t0, t1, t2, t3
	return r
}

// Sub sets r to a - b. For a borrow fold is subtracted, and again for the borrow of that,
// which leaves a number close to 2²⁵⁶, so that there is no third.
func (r *Element) Sub(a, b *Element) *Element {
	t0, borrow := bits.Sub64(a[0], b[0], 0)
	t1, borrow := bits.Sub64(a[1], b[1], borrow)
	t2, borrow := bits.Sub64(a[2], b[2], borrow)
	t3, borrow := bits.Sub64(a[3], b[3], borrow)
	t0, borrow = bits.Sub64(t0, -borrow&fold, 0)
	t1, borrow = bits.Sub64(t1, 0, borrow)
	t2, borrow = bits.Sub64(t2, 0, borrow)
	t3, borrow = bits.Sub64(t3, 0, borrow)
	r[0], r[1], r[2], r[3] = t0-(-borrow&fold), t1, t2, t3
	return r
}

// Neg sets r to -a.
func (r *Element) Neg(a *Element) *Element { return r.Sub(&Element{}, a) }

// MulSmall sets r to k·a, for k < 2³¹.
func (r *Element) MulSmall(a *Element, k uint64) *Element {
	h0, t0 := bits.Mul64(a[0], k)
	h1, t1 := bits.Mul64(a[1], k)
	h2, t2 := bits.Mul64(a[2], k)
	h3, t3 := bits.Mul64(a[3], k)
	t1, carry := bits.Add64(t1, h0, 0)
	t2, carry = bits.Add64(t2, h1, carry)
	t3, carry = bits.Add64(t3, h2, carry)
	h3, _ = bits.Add64(h3, 0, carry)
	return r.addFolded(t0, t1, t2, t3, h3*fold, 0) // under 2⁶⁴
}

// row returns t + a·b. One row at a time has few values alive, so that the compiler keeps
// them in registers.
func row(t0, t1, t2, t3, a0, a1, a2, a3, b uint64) (uint64, uint64, uint64, uint64, uint64) {
	h0, l0 := bits.Mul64(a0, b)
	h1, l1 := bits.Mul64(a1, b)
	h2, l2 := bits.Mul64(a2, b)
	t4, l3 := bits.Mul64(a3, b)
	t0, carry := bits.Add64(t0, l0, 0)
	t1, carry = bits.Add64(t1, l1, carry)
	t2, carry = bits.Add64(t2, l2, carry)
	t3, carry = bits.Add64(t3, l3, carry)
	t4, _ = bits.Add64(t4, 0, carry)
	t1, carry = bits.Add64(t1, h0, 0)
	t2, carry = bits.Add64(t2, h1, carry)
	t3, carry = bits.Add64(t3, h2, carry)
	t4, _ = bits.Add64(t4, 0, carry)
	return t0, t1, t2, t3, t4
}

// Mul sets r to a·b: schoolbook multiplication, a row for each limb of b, then one for the
// upper half of the product times fold.
func (r *Element) Mul(a, b *Element) *Element {
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	t0, t1, t2, t3, t4 := row(0, 0, 0, 0, a0, a1, a2, a3, b[0])
	t1, t2, t3, t4, t5 := row(t1, t2, t3, t4, a0, a1, a2, a3, b[1])
	t2, t3, t4, t5, t6 := row(t2, t3, t4, t5, a0, a1, a2, a3, b[2])
	t3, t4, t5, t6, t7 := row(t3, t4, t5, t6, a0, a1, a2, a3, b[3])
	t0, t1, t2, t3, t4 = row(t0, t1, t2, t3, t4, t5, t6, t7, fold)
	return r.foldTop(t0, t1, t2, t3, t4)
}

// MulAdd sets r to a·b + c·d, with one reduction.
func (r *Element) MulAdd(a, b, c, d *Element) *Element {
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	t0, t1, t2, t3, t4 := row(0, 0, 0, 0, a0, a1, a2, a3, b[0])
	t1, t2, t3, t4, t5 := row(t1, t2, t3, t4, a0, a1, a2, a3, b[1])
	t2, t3, t4, t5, t6 := row(t2, t3, t4, t5, a0, a1, a2, a3, b[2])
	t3, t4, t5, t6, t7 := row(t3, t4, t5, t6, a0, a1, a2, a3, b[3])

	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	s0, s1, s2, s3, s4 := row(0, 0, 0, 0, c0, c1, c2, c3, d[0])
	s1, s2, s3, s4, s5 := row(s1, s2, s3, s4, c0, c1, c2, c3, d[1])
	s2, s3, s4, s5, s6 := row(s2, s3, s4, s5, c0, c1, c2, c3, d[2])
	s3, s4, s5, s6, s7 := row(s3, s4, s5, s6, c0, c1, c2, c3, d[3])

	t0, carry := bits.Add64(t0, s0, 0)
	t1, carry = bits.Add64(t1, s1, carry)
	t2, carry = bits.Add64(t2, s2, carry)
	t3, carry = bits.Add64(t3, s3, carry)
	t4, carry = bits.Add64(t4, s4, carry)
	t5, carry = bits.Add64(t5, s5, carry)
	t6, carry = bits.Add64(t6, s6, carry)
	t7, carry = bits.Add64(t7, s7, carry)
	t0, t1, t2, t3, t4 = row(t0, t1, t2, t3, t4, t5, t6, t7, fold)
	return r.foldTop(t0, t1, t2, t3, t4+carry*fold)
}

// Square sets r to a²: the products of different limbs, doubled, and the squares of limbs.
func (r *Element) Square(a *Element) *Element {
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	t2, t1 := bits.Mul64(a0, a1)
	h02, l02 := bits.Mul64(a0, a2)
	h03, l03 := bits.Mul64(a0, a3)
	h12, l12 := bits.Mul64(a1, a2)
	h13, l13 := bits.Mul64(a1, a3)
	h23, l23 := bits.Mul64(a2, a3)
	t2, carry := bits.Add64(t2, l02, 0)
	t3, carry := bits.Add64(h02, l03, carry)
	t4, carry := bits.Add64(h03, l13, carry)
	t5, carry := bits.Add64(h13, l23, carry)
	t6, _ := bits.Add64(h23, 0, carry)
	t3, carry = bits.Add64(t3, l12, 0)
	t4, carry = bits.Add64(t4, h12, carry)
	t5, carry = bits.Add64(t5, 0, carry)
	t6, _ = bits.Add64(t6, 0, carry)

	t1, carry = bits.Add64(t1, t1, 0)
	t2, carry = bits.Add64(t2, t2, carry)
	t3, carry = bits.Add64(t3, t3, carry)
	t4, carry = bits.Add64(t4, t4, carry)
	t5, carry = bits.Add64(t5, t5, carry)
	t6, carry = bits.Add64(t6, t6, carry)
	t7, _ := bits.Add64(0, 0, carry)

	h0, t0 := bits.Mul64(a0, a0)
	h1, l1 := bits.Mul64(a1, a1)
	h2, l2 := bits.Mul64(a2, a2)
	h3, l3 := bits.Mul64(a3, a3)
	t1, carry = bits.Add64(t1, h0, 0)
	t2, carry = bits.Add64(t2, l1, carry)
	t3, carry = bits.Add64(t3, h1, carry)
	t4, carry = bits.Add64(t4, l2, carry)
	t5, carry = bits.Add64(t5, h2, carry)
	t6, carry = bits.Add64(t6, l3, carry)
	t7, _ = bits.Add64(t7, h3, carry)
	t0, t1, t2, t3, t4 = row(t0, t1, t2, t3, t4, t5, t6, t7, fold)
	return r.foldTop(t0, t1, t2, t3, t4)
}
