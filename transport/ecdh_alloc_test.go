//go:build !race

package transport

import "testing"

// With the race detector, arguments of crypto/rand escape to the heap.
func TestExchangeAllocations(t *testing.T) {
	k := newPrivateKey()
	theirs := newPrivateKey().public
	var secret [32]byte
	for _, op := range []struct {
		name string
		do   func()
		want float64
	}{
		{"creation", func() { newPrivateKey() }, 1}, // the key
		{"encoding", func() { x := k.publicX(); k.encode(&x) }, 0},
		{"decoding", func() { decode(&theirs) }, 0},
		{"ECDH", func() { k.ecdh(&secret, &theirs, true) }, 0},
	} {
		if n := testing.AllocsPerRun(100, op.do); n > op.want {
			t.Errorf("%s: %v allocations, want %v", op.name, n, op.want)
		}
	}
}
