package v1v2

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
)

// checksum returns the first four bytes of the payload's double SHA-256.
func checksum(payload []byte) [4]byte {
	if !knowsState {
		once := sha256.Sum256(payload)
		twice := sha256.Sum256(once[:])
		return [4]byte(twice[:])
	}
	return checksumByState(payload)
}

// knowsState reports whether the state of a digest is as this package expects.
var knowsState = checksumByState(nil) == [4]byte{0x5d, 0xf6, 0xe0, 0xe2}

// checksumByState is checksum. For a small payload Sum256 spends more on copying its state and
// padding than on hashing: here the padding is written behind the end of the payload, and the hash
// is read from the state.
func checksumByState(payload []byte) [4]byte {
	const block = sha256.BlockSize
	const stateAt = 4 // the hash follows a magic
	var b [2 * block]byte
	h := sha256.New()
	whole := len(payload) &^ (block - 1)
	h.Write(payload[:whole])
	n := copy(b[:], payload[whole:])
	end := block
	if n >= block-8 {
		end = 2 * block
	}
	b[n] = 0x80
	binary.BigEndian.PutUint64(b[end-8:], 8*uint64(len(payload)))
	h.Write(b[:end])
	h.(encoding.BinaryAppender).AppendBinary(b[:0])

	copy(b[:], b[stateAt:stateAt+sha256.Size])
	clear(b[sha256.Size:block])
	b[sha256.Size] = 0x80
	binary.BigEndian.PutUint64(b[block-8:], 8*sha256.Size)
	h.Reset()
	h.Write(b[:block])
	h.(encoding.BinaryAppender).AppendBinary(b[:0])
	return [4]byte(b[stateAt:])
}
