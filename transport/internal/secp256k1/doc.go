// Package secp256k1 is as much of the curve as BIP324's key exchange needs: the
// field, points, and the multiplication of a point by a secret scalar.
//
// The time that a function takes, and the memory that it touches, depend on no
// value that it is given; those for which this does not hold have a name that
// ends in Vartime. The two yes-or-no answers, IsZero and IsScalar, are computed
// so, too, but who branches on them tells the answer.
//
//	field.go   elements, and what is a sum or a product
//	roots.go   1/a, √a, and whether there is a √a
//	point.go   the group law
//	mul.go     k·P and k·G
//	scalar.go  the range of k
//
// It is written to be read: one representation of an element, one formula that
// adds any two points, one multiplication.
package secp256k1
