package testkit

import (
	"crypto/sha256"
	"encoding/binary"
	mrand "math/rand/v2"
	"slices"
)

// V1Message returns a message in v1 framing, made without the code under test.
func V1Message(magic [4]byte, name string, payload []byte) []byte {
	var kind [12]byte
	copy(kind[:], name)
	once := sha256.Sum256(payload)
	twice := sha256.Sum256(once[:])
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	return slices.Concat(magic[:], kind[:], size, twice[:4], payload)
}

// RandomBytes returns n bytes that depend on seed only.
func RandomBytes(n int, seed uint64) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	mrand.NewChaCha8(key).Read(b)
	return b
}
