package transport

import "bip324proxy/transport/internal/secp256k1"

// field is an element of secp256k1's field. The values in this file are public, and its
// timing depends on them.
type field = secp256k1.Element

var (
	oneHalf = field{0xffffffff7ffffe18, 0xffffffffffffffff, 0xffffffffffffffff, 0x7fffffffffffffff}

	// sqrtMinus3 is BIP324's c, that square root of -3 which is a square.
	sqrtMinus3 = field{0x7d8d27ae1cd5f852, 0xc61f6d15da14ecd4, 0x233770c2a797962c, 0x0a2d2ba93507f1df}
)

// curve returns x³+7, which is y² if x is on the curve.
func curve(x *field) (r field) {
	r.Square(x).Mul(&r, x).Add(&r, &field{7})
	return r
}

// lift sets p to one of the points with x = n/d, for d ≠ 0, and reports whether there
// are any.
//
// y² = n³/d³ + 7 = h/d⁴ with h = (n³+7d³)d, so y = √h/d²: a projective point
// needs no inversion.
func lift(p *secp256k1.Point, n, d *field) bool {
	var d2, h, t field
	d2.Square(d)
	h.Mul(&d2, d).MulSmall(&h, 7)
	t.Square(n).Mul(&t, n)
	h.Add(&h, &t).Mul(&h, d)
	if !h.IsSquareVartime() {
		return false
	}
	p.X.Mul(n, d)
	p.Y.Sqrt(&h)
	p.Z = d2
	return true
}

// xswiftec maps (u, t) to a point on the curve, BIP324's XSwiftEC followed by
// a lift of x. Every pair has a point.
//
// BIP324 computes X = (u³+7-t²)/(2t), Y = (X+t)/(c·u) and takes the first x on
// the curve of u+4Y², (-X/Y-u)/2, (X/Y-u)/2. With m = u³+7-t² and
// p = u³+7+t² these are u-p²/(3t²u²), -u(c·m+p)/(2p), u(c·m-p)/(2p).
func xswiftec(u, t field) (point secp256k1.Point) {
	if u.IsZero() {
		u = field{1}
	}
	if t.IsZero() {
		t = field{1}
	}
	g := curve(&u)
	var t2, p, m field
	t2.Square(&t)
	if p.Add(&g, &t2).IsZero() { // then t is doubled
		t2.MulSmall(&t2, 4)
		p.Add(&g, &t2)
	}
	m.Sub(&g, &t2).Mul(&m, &sqrtMinus3) // c·m

	var n, d, q field
	d.Square(&u).Mul(&d, &t2).MulSmall(&d, 3)
	n.Mul(&u, &d).Sub(&n, q.Square(&p))
	if lift(&point, &n, &d) {
		return point
	}
	d.Add(&p, &p)
	n.Add(&m, &p).Mul(&n, &u).Neg(&n)
	if lift(&point, &n, &d) {
		return point
	}
	n.Sub(&m, &p).Mul(&n, &u)
	lift(&point, &n, &d)
	return point
}

// xswiftecInv is BIP324's XSwiftECInv: it sets t such that (u, t) encodes x, in one of
// eight cases c, and reports whether there is such a t. x must be on the curve.
//
// BIP324's t is ±w(u(1∓c)/2+v), where w is √s. Nothing is inverted for it. In
// the first four cases s is a fraction and v = x. In the others v = (r/s-u)/2
// with r = √(-s(4(u³+7)+3u²s)), which makes t = ±(∓c·u·w+r/w)/2, and r/w is
// √(-4(u³+7)-3u²s). All these roots are squares themselves. All that have to
// be squares are tested before the first root is taken.
func xswiftecInv(t, x, u *field, c int) bool {
	var s, w, k field
	g := curve(u)
	k.Mul(&sqrtMinus3, u)
	if c&1 == 0 {
		k.Neg(&k) // ∓c·u
	}
	if c&2 == 0 {
		var v, d field
		v.Add(x, u).Neg(&v)
		if v = curve(&v); v.IsSquareVartime() {
			return false
		}
		d.Add(x, u).Mul(&d, u).Add(&d, v.Square(x)) // s = -(u³+7)/(u²+ux+x²)
		g.Neg(&g)
		if !s.Mul(&g, &d).IsSquareVartime() {
			return false
		}
		w.SqrtRatio(&g, &d)
		t.Add(&k, u).Add(t, x).Add(t, x).Mul(t, &w)
	} else {
		var r field
		s.Sub(x, u)
		r.Square(u).Mul(&r, &s).MulSmall(&r, 3)
		g.MulSmall(&g, 4)
		r.Add(&r, &g).Neg(&r)
		if s.IsZero() || c&1 == 1 && r.IsZero() || !s.IsSquareVartime() || !r.IsSquareVartime() {
			return false
		}
		w.Sqrt(&s)
		r.Sqrt(&r)
		t.Mul(&k, &w).Add(t, &r)
	}
	if c&5 == 0 || c&5 == 5 {
		t.Neg(t)
	}
	t.Mul(t, &oneHalf)
	return true
}

// decode returns a point that key encodes. Every key encodes one.
func decode(key *[KeySize]byte) secp256k1.Point {
	var u, t field
	u.SetBytes((*[32]byte)(key[:32]))
	t.SetBytes((*[32]byte)(key[32:]))
	return xswiftec(u, t)
}
