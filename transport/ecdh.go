package transport

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"

	"bip324proxy/transport/internal/secp256k1"
)

// KeySize is the size of an ElligatorSwift-encoded public key, in bytes: the field
// elements u and t, big-endian, 32 bytes each.
const KeySize = 64

// privateKey is an ephemeral secp256k1 key with the encoding of its public key that is
// sent to the peer.
type privateKey struct {
	scalar [secp256k1.Size]byte // from 1 to n-1, big-endian
	public [KeySize]byte
}

// newPrivateKey returns a random key with a uniformly random encoding of its public key
// (BIP324, ellswift_create).
func newPrivateKey() *privateKey {
	k := new(privateKey)
	rand.Read(k.scalar[:]) // never fails
	for !secp256k1.IsScalar(&k.scalar) {
		rand.Read(k.scalar[:])
	}
	x := k.publicX()
	k.encode(&x)
	return k
}

// encode sets k.public to a random encoding of x. It draws u and the case until there is
// a t, four times on average.
func (k *privateKey) encode(x *field) {
	var b [33]byte
	for {
		rand.Read(b[:])
		var u, t field
		if u.SetBytes((*[32]byte)(b[:32])).IsZero() {
			continue
		}
		if xswiftecInv(&t, x, &u, int(b[32]&7)) {
			u.PutBytes((*[32]byte)(k.public[:32]))
			t.PutBytes((*[32]byte)(k.public[32:]))
			return
		}
	}
}

// publicX returns the x coordinate of the public key. x is not secret, but the projective
// point is: its Z depends on the additions that led there, and so on the scalar.
func (k *privateKey) publicX() (x field) {
	var p secp256k1.Point
	subtle.WithDataIndependentTiming(func() {
		p.MulGenerator(&k.scalar)
		p.AffineX(&x)
	})
	p = secp256k1.Point{}
	return x
}

// wipe zeroes the scalar.
func (k *privateKey) wipe() { clear(k.scalar[:]) }

// ecdh sets secret to BIP324's shared secret (v2_ecdh): the tagged hash of both
// encodings, the initiator's first, and the x coordinate of the shared point.
func (k *privateKey) ecdh(secret *[32]byte, theirs *[KeySize]byte, initiator bool) {
	tag := sha256.Sum256([]byte("bip324_ellswift_xonly_ecdh"))
	first, second := &k.public, theirs
	if !initiator {
		first, second = second, first
	}
	var msg [32 + 32 + KeySize + KeySize + 32]byte
	copy(msg[0:], tag[:])
	copy(msg[32:], tag[:])
	copy(msg[64:], first[:])
	copy(msg[128:], second[:])
	k.sharedX((*[32]byte)(msg[192:]), theirs)
	*secret = sha256.Sum256(msg[:])
	clear(msg[:])
	sha256.Sum256(msg[:]) // overwrites what the first one left on the stack
}

// sharedX sets b to the x coordinate of k times the point that theirs encodes.
func (k *privateKey) sharedX(b *[32]byte, theirs *[KeySize]byte) {
	p := decode(theirs)
	var x field
	subtle.WithDataIndependentTiming(func() { // only arm64 has such a mode
		p.Mul(&k.scalar, &p)
		p.AffineX(&x)
		x.PutBytes(b)
	})
	p, x = secp256k1.Point{}, field{}
}
