// Package secp256k1 implements the part of the curve that BIP324's key exchange needs:
// the field, points, and the multiplication of a point by a secret scalar.
//
// The functions take constant time and access memory independently of their operands,
// except those whose name ends in Vartime. A caller that branches on IsZero or IsScalar
// reveals the result.
//
//	field.go         elements, sums and products
//	roots.go         1/a, √a, and whether a is a square
//	point.go         the group law
//	mul.go           scalars, k·P and k·G
//	endomorphism.go  a scalar as two of half the size
//
// One representation of an element, and one formula that adds any two points.
package secp256k1
