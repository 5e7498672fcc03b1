package secp256k1

// The curve has an endomorphism that costs one product: with beta³ = 1 modulo p and λ³ = 1
// modulo n, λ·(x, y) = (beta·x, y).
var beta = Element{0xc1396c28719501ee, 0x9cf0497512f58995, 0x6e64479eac3434e9, 0x7ae96a2b657c0710}

// (a1, -b1) and (a1+b1, a1) are short vectors (a, b) with a + b·λ = 0 modulo n, and generate
// all (Gallant, Lambert, Vanstone, "Faster point multiplication on elliptic curves with
// efficient endomorphisms", 2001).
var (
	a1 = Element{0xe86c90e49284eb15, 0x3086d221a7d46bcd}
	b1 = Element{0x6f547fa90abfe4c3, 0xe4437ed6010e8828}
)

// halfDigits is the number of digits of a scalar under 2¹³⁰.
const halfDigits = 33

// decompose sets d to the digits of k₁ and k₂, under 2¹³⁰, where k₁ + k₂·λ = k modulo n.
//
// (k, 0) minus c₁ times the first vector and c₂ times the second is small if c₁ is about
// k·a1/n and c₂ about k·b1/n. The upper halves of k·a1 and k·b1 are less than these, by 1.3
// and 2.2 at most. Two more for c₁ and one less for c₂ make k₁ and k₂ positive, so that
// arithmetic modulo p is exact.
func decompose(d *[2]digits, k *[Size]byte) {
	var n, c1, c2, t Element
	n.SetBytes(k)
	c1.upperHalf(&n, &a1).Add(&c1, &Element{2})
	c2.upperHalf(&n, &b1).Sub(&c2, &Element{1})

	var half [Size]byte
	t.Add(&a1, &b1)
	t.MulAdd(&c1, &a1, &c2, &t)
	t.Sub(&n, &t).PutBytes(&half)
	d[0].set(&half)
	t.Neg(&a1)
	t.MulAdd(&c1, &b1, &c2, &t).PutBytes(&half)
	d[1].set(&half)
	half, n, c1, c2, t = [Size]byte{}, Element{}, Element{}, Element{}, Element{}
}

// upperHalf sets r to a·b/2²⁵⁶, rounded down, for b under 2¹²⁸.
func (r *Element) upperHalf(a, b *Element) *Element {
	_, t1, t2, t3, t4 := row(0, 0, 0, 0, a[0], a[1], a[2], a[3], b[0])
	_, _, _, t4, t5 := row(t1, t2, t3, t4, a[0], a[1], a[2], a[3], b[1])
	*r = Element{t4, t5}
	return r
}
