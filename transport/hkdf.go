package transport

import "crypto/sha256"

// HMAC-SHA256 and the part of HKDF (RFC 5869) that BIP324 uses. crypto/hkdf leaves its
// keys in the heap, where they cannot be zeroed; this uses the stack only.

// hmacSHA256 sets out to the HMAC of message under key, each at most 64 bytes.
func hmacSHA256(out *[32]byte, key, message []byte) {
	const block = sha256.BlockSize
	var inner [2 * block]byte
	var outer [block + sha256.Size]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range block {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	n := copy(inner[block:], message)
	sum := sha256.Sum256(inner[:block+n])
	copy(outer[block:], sum[:])
	*out = sha256.Sum256(outer[:])
	clear(inner[:])
	clear(outer[:])
	clear(sum[:])
}

// hkdfExpand sets out to the first 32 bytes of HKDF-Expand of prk and info, at most 63
// bytes.
func hkdfExpand(out, prk *[32]byte, info string) {
	hmacSHA256(out, prk[:], append([]byte(info), 1))
}
