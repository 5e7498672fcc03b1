package secp256k1

import (
	"encoding/binary"
	"math/bits"
)

// order is the number of points of the curve, n, least significant limb first.
var order = [4]uint64{0xbfd25e8cd0364141, 0xbaaedce6af48a03b, 0xfffffffffffffffe, 0xffffffffffffffff}

// IsScalar says whether the big-endian k is a private key, from 1 to n-1.
func IsScalar(k *[Size]byte) bool {
	var borrow, any uint64
	for i := range order {
		limb := binary.BigEndian.Uint64(k[24-8*i:])
		any |= limb
		_, borrow = bits.Sub64(limb, order[i], borrow)
	}
	return borrow&((any|-any)>>63) == 1
}
