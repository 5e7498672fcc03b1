package secp256k1

import "math/bits"

// squareN sets r to a^(2ⁿ).
func (r *Element) squareN(a *Element, n int) *Element {
	*r = *a
	for range n {
		r.Square(r)
	}
	return r
}

// powRoot sets r to a^((p-3)/4). In binary this exponent is 223 ones, a zero,
// 22 ones and 00001011; ones(n) below is a^(2ⁿ-1), a to the power of n ones.
func (r *Element) powRoot(a *Element) *Element {
	var ones2, ones3, ones11, ones22, ones44, t Element
	ones2.Square(a).Mul(&ones2, a)
	ones3.Square(&ones2).Mul(&ones3, a)
	t.squareN(&ones3, 3).Mul(&t, &ones3)       // 6
	t.squareN(&t, 3).Mul(&t, &ones3)           // 9
	ones11.squareN(&t, 2).Mul(&ones11, &ones2) // 11
	ones22.squareN(&ones11, 11).Mul(&ones22, &ones11)
	ones44.squareN(&ones22, 22).Mul(&ones44, &ones22)
	t.squareN(&ones44, 44).Mul(&t, &ones44) // 88
	ones88 := t
	t.squareN(&t, 88).Mul(&t, &ones88) // 176
	t.squareN(&t, 44).Mul(&t, &ones44) // 220
	t.squareN(&t, 3).Mul(&t, &ones3)   // 223
	t.squareN(&t, 23).Mul(&t, &ones22)
	t.squareN(&t, 5).Mul(&t, a)
	return r.squareN(&t, 3).Mul(r, &ones2)
}

// Invert sets r to 1/a, and to 0 if a is 0. It is a^(p-2) by Fermat's little
// theorem, and p-2 = 4(p-3)/4 + 1.
func (r *Element) Invert(a *Element) *Element {
	var t Element
	t.powRoot(a).squareN(&t, 2)
	return r.Mul(&t, a)
}

// Sqrt sets r to the square root of a that is itself a square, a^((p+1)/4).
// If a is not a square, r is a root of -a.
func (r *Element) Sqrt(a *Element) *Element {
	var t Element
	t.powRoot(a)
	return r.Mul(&t, a)
}

// SqrtRatio sets r to the square root of n/d, a square, that is itself a square. It
// needs no inversion: (n/d)^((p+1)/4) = nd·(nd³)^((p-3)/4), since d^(p+1) = d².
func (r *Element) SqrtRatio(n, d *Element) *Element {
	var nd, t Element
	nd.Mul(n, d)
	t.Square(d).Mul(&t, &nd)
	t.powRoot(&t)
	return r.Mul(&t, &nd)
}

// IsSquareVartime reports whether a is a square, 0 included. Its time depends on a, which
// must not be secret.
//
// It is the binary algorithm for the Jacobi symbol (a/m), with m = p at first:
// halve a while it is even; when it is odd, let the smaller of the two be m, and
// subtract it. (2/m) is -1 where m is ±3 mod 8, and swapping a and m changes the
// sign if both are 3 mod 4. The swap is a mask, because half of its branches would be
// mispredicted.
func (a *Element) IsSquareVartime() bool {
	x := *a
	x.reduce()
	a0, a1, a2, a3 := x[0], x[1], x[2], x[3]
	m0, m1, m2, m3 := ^uint64(fold-1), ^uint64(0), ^uint64(0), ^uint64(0) // p
	var sign uint64                                                       // only its lowest bit counts
	for a0|a1|a2|a3 != 0 {
		if a0 == 0 { // an even number of halvings
			a0, a1, a2, a3 = a1, a2, a3, 0
			continue
		}
		n := bits.TrailingZeros64(a0) & 63 // the compiler's hint: no bounds for shifts
		up := ^n & 63                      // 63 - n
		a0 = a0>>n | a1<<1<<up
		a1 = a1>>n | a2<<1<<up
		a2 = a2>>n | a3<<1<<up
		a3 >>= n
		sign ^= uint64(n) & (m0>>1 ^ m0>>2)

		t0, borrow := bits.Sub64(a0, m0, 0)
		t1, borrow := bits.Sub64(a1, m1, borrow)
		t2, borrow := bits.Sub64(a2, m2, borrow)
		t3, borrow := bits.Sub64(a3, m3, borrow)
		less := -borrow // all ones if a < m: swapped, the difference is m - a
		sign ^= less & a0 & m0 >> 1
		m0 ^= less & (m0 ^ a0)
		m1 ^= less & (m1 ^ a1)
		m2 ^= less & (m2 ^ a2)
		m3 ^= less & (m3 ^ a3)
		a0, borrow = bits.Sub64(t0^less, less, 0)
		a1, borrow = bits.Sub64(t1^less, less, borrow)
		a2, borrow = bits.Sub64(t2^less, less, borrow)
		a3, _ = bits.Sub64(t3^less, less, borrow)
	}
	return sign&1 == 0
}
