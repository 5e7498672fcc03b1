package transport

import "crypto/sha256"

// terminatorSize is the size of a garbage terminator, in bytes.
const terminatorSize = 16

// sessionKeys is what both sides derive from the shared secret (BIP324,
// initialize_v2_transport).
type sessionKeys struct {
	sessionID      [32]byte
	sendL, sendP   [32]byte
	recvL, recvP   [32]byte
	sendTerminator [terminatorSize]byte
	recvTerminator [terminatorSize]byte
}

// deriveKeys derives the session's keys by HKDF-SHA256 from the shared secret. The salt
// has the network's magic, so that peers of two networks have different keys.
func deriveKeys(secret *[32]byte, magic [4]byte, initiator bool) *sessionKeys {
	var prk, terminators [32]byte
	hmacSHA256(&prk, append([]byte("bitcoin_v2_shared_secret"), magic[:]...), secret[:])
	defer clear(prk[:])
	k := new(sessionKeys)
	initL, initP, respL, respP := &k.sendL, &k.sendP, &k.recvL, &k.recvP
	if !initiator {
		initL, initP, respL, respP = respL, respP, initL, initP
	}
	hkdfExpand(&k.sessionID, &prk, "session_id")
	hkdfExpand(initL, &prk, "initiator_L")
	hkdfExpand(initP, &prk, "initiator_P")
	hkdfExpand(respL, &prk, "responder_L")
	hkdfExpand(respP, &prk, "responder_P")
	hkdfExpand(&terminators, &prk, "garbage_terminators")
	copy(k.sendTerminator[:], terminators[:terminatorSize])
	copy(k.recvTerminator[:], terminators[terminatorSize:])
	if !initiator {
		k.sendTerminator, k.recvTerminator = k.recvTerminator, k.sendTerminator
	}
	return k
}

// wipe zeroes the keys of ciphers. The session id and the terminators are not secret.
func (k *sessionKeys) wipe() {
	for _, b := range []*[32]byte{&k.sendL, &k.sendP, &k.recvL, &k.recvP} {
		clear(b[:])
	}
}

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
