package secp256k1

// Point is a point (X/Z, Y/Z) of the curve y² = x³ + 7; the point at infinity
// has Z = 0.
type Point struct{ X, Y, Z Element }

// b3 is three times the 7 of the curve's equation.
const b3 = 21

// add sets r to a + b. The formula is complete: it holds for any two points
// of this curve, equal, opposite or at infinity, since none of them has order
// two (Renes, Costello, Batina, "Complete addition formulas for prime order
// elliptic curves", 2015, algorithm 7).
func (r *Point) add(a, b *Point) *Point {
	var xx, yy, zz, xy, yz, xz Element
	xx.Mul(&a.X, &b.X)
	yy.Mul(&a.Y, &b.Y)
	zz.Mul(&a.Z, &b.Z)
	xy.MulAdd(&a.X, &b.Y, &a.Y, &b.X) // x₁y₂ + x₂y₁
	yz.MulAdd(&a.Y, &b.Z, &a.Z, &b.Y)
	xz.MulAdd(&a.X, &b.Z, &a.Z, &b.X)
	return r.combine(&xx, &yy, &zz, &xy, &yz, &xz)
}

// addAffine sets r to a + (x, y, 1). It holds for any a (algorithm 8).
func (r *Point) addAffine(a *Point, x, y *Element) *Point {
	var xx, yy, xy, yz, xz Element
	xx.Mul(&a.X, x)
	yy.Mul(&a.Y, y)
	xy.MulAdd(&a.X, y, &a.Y, x)
	yz.Mul(&a.Z, y).Add(&yz, &a.Y)
	xz.Mul(&a.Z, x).Add(&xz, &a.X)
	zz := a.Z
	return r.combine(&xx, &yy, &zz, &xy, &yz, &xz)
}

// combine sets r to the sum of two points, from sums of products of their coordinates, which
// it overwrites.
func (r *Point) combine(xx, yy, zz, xy, yz, xz *Element) *Point {
	xx.MulSmall(xx, 3)
	zz.MulSmall(zz, b3)
	xz.MulSmall(xz, b3)
	var sum, diff, minus Element
	sum.Add(yy, zz)
	diff.Sub(yy, zz)
	minus.Neg(xz)

	r.X.MulAdd(xy, &diff, yz, &minus)
	r.Y.MulAdd(&sum, &diff, xx, xz)
	r.Z.MulAdd(yz, &sum, xx, xy)
	return r
}

// double sets r to a + a, algorithm 9 of the same paper. It is complete, too.
func (r *Point) double(a *Point) *Point {
	var yy, zz, xy, yz, sum, diff, t Element
	yy.Square(&a.Y)
	zz.Square(&a.Z).MulSmall(&zz, b3)
	xy.Mul(&a.X, &a.Y)
	yz.Mul(&a.Y, &a.Z)
	sum.Add(&yy, &zz)
	diff.Sub(&yy, t.MulSmall(&zz, 3))

	yy.MulSmall(&yy, 8)
	r.X.Mul(&xy, &diff).Add(&r.X, &r.X)
	r.Y.MulAdd(&sum, &diff, &yy, &zz)
	r.Z.Mul(&yy, &yz)
	return r
}

// AffineX sets x to the point's x, and to 0 for the point at infinity.
func (p *Point) AffineX(x *Element) {
	x.Invert(&p.Z)
	x.Mul(x, &p.X)
}
