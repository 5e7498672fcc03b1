// Package random draws numbers from crypto/rand.
package random

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// N returns a random number from 0 to n-1, uniformly. It panics if n ≤ 0.
func N[T ~int | ~int64](n T) T {
	if n <= 0 {
		panic("random: internal error: no numbers to draw from")
	}
	// Lemire, "Fast Random Integer Generation in an Interval", 2019: of the product of n and a
	// random word, the high half is the number. It is uniform if the lowest of the low halves,
	// 2⁶⁴ mod n of them, are drawn again.
	high, low := bits.Mul64(word(), uint64(n))
	if low < uint64(n) {
		for again := -uint64(n) % uint64(n); low < again; {
			high, low = bits.Mul64(word(), uint64(n))
		}
	}
	return T(high)
}

func word() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
