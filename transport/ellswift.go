package transport

import (
	"crypto/rand"
	"crypto/sha256"

	"github.com/btcsuite/btcd/btcec/v2"
)

// KeySize is the size of an ElligatorSwift-encoded public key, in bytes: the
// field elements u and t, big-endian, 32 bytes each.
const KeySize = 64

// field is an element of secp256k1's field. Its methods work on the receiver;
// every value below has a magnitude well under the limit of 64.
type field = btcec.FieldVal

// mul returns a·b.
func mul(a, b *field) (r field) {
	r.Mul2(a, b)
	return r
}

// add returns a+b, normalized.
func add(a, b *field) (r field) {
	r.Add2(a, b).Normalize()
	return r
}

// neg returns -a, normalized; a must be normalized.
func neg(a *field) (r field) {
	r.NegateVal(a, 1).Normalize()
	return r
}

// curve returns x³+7, normalized: the square of y where x is on the curve.
func curve(x *field) (r field) {
	r.SquareVal(x).Mul(x).AddInt(7).Normalize()
	return r
}

// liftX sets y to a square root of x³+7 and says whether there is one.
func liftX(x, y *field) bool {
	g := curve(x)
	return y.SquareRootVal(&g)
}

// sqrtMinus3 is BIP324's c, a square root of -3.
var sqrtMinus3 = mustField([32]byte{
	0x0a, 0x2d, 0x2b, 0xa9, 0x35, 0x07, 0xf1, 0xdf, 0x23, 0x37, 0x70, 0xc2, 0xa7, 0x97, 0x96, 0x2c,
	0xc6, 0x1f, 0x6d, 0x15, 0xda, 0x14, 0xec, 0xd4, 0x7d, 0x8d, 0x27, 0xae, 0x1c, 0xd5, 0xf8, 0x52,
})

// oneHalf is 1/2.
var oneHalf = *new(field).SetInt(2).Inverse().Normalize()

func mustField(b [32]byte) (f field) {
	f.SetBytes(&b)
	return f
}

// xswiftec maps (u, t) to a point (x, y) on the curve, BIP324's XSwiftEC
// followed by a lift of x; which of the two y it gives is not defined. It is
// total: every pair has a point. u and t must be normalized.
//
// BIP324 computes X = (u³+7-t²)/(2t), Y = (X+t)/(c·u) and takes the first x on
// the curve of u+4Y², (-X/Y-u)/2, (X/Y-u)/2. With n = u³+7-t² and
// p = u³+7+t² these are u-p²/(3t²u²), -u(c·n/p+1)/2, u(c·n/p-1)/2, which takes
// a single inversion.
func xswiftec(u, t field) (x, y field) {
	if u.IsZero() {
		u.SetInt(1)
	}
	if t.IsZero() {
		t.SetInt(1)
	}
	g := curve(&u)
	t2 := *new(field).SquareVal(&t).Normalize()
	p := add(&g, &t2)
	if p.IsZero() { // then t is doubled
		t2.MulInt(4).Normalize()
		p = add(&g, &t2)
	}
	minusT2 := neg(&t2)
	n := add(&g, &minusT2)

	d := mul(&t2, new(field).SquareVal(&u)) // d = 3t²u²
	d.MulInt(3).Normalize()
	inv := mul(&p, &d)
	inv.Inverse()
	overP, overD := mul(&inv, &d), mul(&inv, &p)

	q := mul(&p, &p)
	q.Mul(&overD).Normalize()
	q = neg(&q)
	x = add(&u, &q)
	if liftX(&x, &y) {
		return x, y
	}
	r := mul(&sqrtMinus3, &n) // r = c·n/p
	r.Mul(&overP).AddInt(1).Mul(&u).Mul(&oneHalf).Normalize()
	x = neg(&r) // -u(r+1)/2
	if liftX(&x, &y) {
		return x, y
	}
	// u(r-1)/2 = u(r+1)/2 - u
	minusU := neg(&u)
	x = add(&r, &minusU)
	liftX(&x, &y)
	return x, y
}

// xswiftecInv is BIP324's XSwiftECInv: it finds the t, if there is one, with
// which u encodes x, for one of eight cases. u and x must be normalized, x on
// the curve.
func xswiftecInv(x, u *field, c int) (t field, ok bool) {
	var v, s field
	g := curve(u)
	u2 := *new(field).SquareVal(u)
	if c&2 == 0 {
		sum := add(x, u)
		other := neg(&sum)
		if liftX(&other, &v) {
			return t, false
		}
		v = *x
		s.SquareVal(x).Add(&u2) // s = -(u³+7)/(u²+ux+x²)
		ux := mul(u, x)
		s.Add(&ux).Inverse().Mul(&g).Normalize()
		s = neg(&s)
	} else {
		minusU := neg(u)
		s = add(x, &minusU)
		if s.IsZero() {
			return t, false
		}
		// r = sqrt(-s(4(u³+7)+3u²s))
		var r field
		q := mul(&u2, &s)
		q.MulInt(3).Add(g.MulInt(4)).Mul(&s).Normalize()
		q = neg(&q)
		if !r.SquareRootVal(&q) {
			return t, false
		}
		if r.Normalize(); c&1 == 1 && r.IsZero() {
			return t, false
		}
		v = *new(field).Set(&s).Inverse() // v = (r/s-u)/2
		v.Mul(&r).Add(&minusU).Mul(&oneHalf).Normalize()
	}
	var w field
	if !w.SquareRootVal(&s) {
		return t, false
	}
	w.Normalize()
	if c&5 == 0 || c&5 == 5 {
		w = neg(&w)
	}
	// t = ±w(u(1∓c)/2+v)
	k := sqrtMinus3
	if c&1 == 0 {
		k = neg(&k)
	}
	t = mul(k.AddInt(1), u)
	t.Mul(&oneHalf).Add(&v).Mul(&w).Normalize()
	return t, true
}

// privateKey is an ephemeral secp256k1 key and the encoding of its public key
// that goes to the peer.
type privateKey struct {
	scalar btcec.ModNScalar
	public [KeySize]byte
}

// newPrivateKey draws a key and one of the many encodings of its public key,
// uniformly (BIP324, ellswift_create).
func newPrivateKey() *privateKey {
	k := new(privateKey)
	var b [32]byte
	for {
		rand.Read(b[:]) // never fails
		if overflow := k.scalar.SetBytes(&b); overflow == 0 && !k.scalar.IsZero() {
			break
		}
	}
	clear(b[:])
	k.encode()
	return k
}

// encode sets k.public from k.scalar.
func (k *privateKey) encode() {
	var point btcec.JacobianPoint
	btcec.ScalarBaseMultNonConst(&k.scalar, &point)
	point.ToAffine()
	var b [33]byte
	for {
		rand.Read(b[:])
		var u field
		u.SetByteSlice(b[:32])
		if u.Normalize().IsZero() {
			continue
		}
		if t, ok := xswiftecInv(&point.X, &u, int(b[32]&7)); ok {
			u.PutBytesUnchecked(k.public[:32])
			t.PutBytesUnchecked(k.public[32:])
			return
		}
	}
}

// wipe zeroes the scalar.
func (k *privateKey) wipe() { k.scalar.Zero() }

// ecdh returns BIP324's shared secret (v2_ecdh): the tagged hash of both
// encodings, the initiator's first, and the x coordinate of the shared point.
func (k *privateKey) ecdh(theirs *[KeySize]byte, initiator bool) (secret [32]byte) {
	x := k.sharedX(theirs)
	defer clear(x[:])

	tag := sha256.Sum256([]byte("bip324_ellswift_xonly_ecdh"))
	first, second := &k.public, theirs
	if !initiator {
		first, second = second, first
	}
	var msg [32 + 32 + KeySize + KeySize + 32]byte
	defer clear(msg[:])
	copy(msg[0:], tag[:])
	copy(msg[32:], tag[:])
	copy(msg[64:], first[:])
	copy(msg[128:], second[:])
	copy(msg[192:], x[:])
	return sha256.Sum256(msg[:])
}

// sharedX returns the x coordinate of k times the point that theirs encodes.
func (k *privateKey) sharedX(theirs *[KeySize]byte) (b [32]byte) {
	var point, shared btcec.JacobianPoint
	point.X, point.Y = decode(theirs)
	point.Z.SetInt(1)
	btcec.ScalarMultNonConst(&k.scalar, &point, &shared)
	shared.ToAffine()
	shared.X.PutBytes(&b)
	shared.X.Zero()
	shared.Y.Zero()
	return b
}

// decode returns a point that key encodes. Every key encodes one.
func decode(key *[KeySize]byte) (x, y field) {
	var u, t field
	u.SetByteSlice(key[:32])
	t.SetByteSlice(key[32:])
	u.Normalize()
	t.Normalize()
	x, y = xswiftec(u, t)
	x.Normalize()
	y.Normalize()
	return x, y
}
