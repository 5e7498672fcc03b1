// Package random draws numbers from crypto/rand.
package random

import (
	"crypto/rand"
	"math/big"
)

// N returns a random number from 0 to n-1, uniformly. It panics if n ≤ 0.
func N[T ~int | ~int64](n T) T {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic("random: internal error: " + err.Error()) // crypto/rand never fails
	}
	return T(i.Int64())
}
