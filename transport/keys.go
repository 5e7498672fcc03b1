package transport

import (
	"crypto/hmac"
	"crypto/sha256"
)

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

// deriveKeys runs HKDF-SHA256 over the shared secret, salted with the network
// magic, so that peers of two networks never understand each other.
//
// Every output is one block long, which makes HKDF's two steps one HMAC each
// (RFC 5869). crypto/hkdf would leave a copy of every key on the heap.
func deriveKeys(secret *[32]byte, magic [4]byte, initiator bool) *sessionKeys {
	var prk [32]byte
	defer clear(prk[:])
	hmacSHA256(&prk, append([]byte("bitcoin_v2_shared_secret"), magic[:]...), secret[:])

	k := new(sessionKeys)
	var terminators [2 * terminatorSize]byte
	initL, initP, respL, respP := &k.sendL, &k.sendP, &k.recvL, &k.recvP
	if !initiator {
		initL, initP, respL, respP = respL, respP, initL, initP
	}
	for _, d := range []struct {
		info string
		out  *[32]byte
	}{
		{"session_id", &k.sessionID},
		{"initiator_L", initL},
		{"initiator_P", initP},
		{"responder_L", respL},
		{"responder_P", respP},
		{"garbage_terminators", &terminators},
	} {
		hmacSHA256(d.out, prk[:], append([]byte(d.info), 1))
	}
	copy(k.sendTerminator[:], terminators[:terminatorSize])
	copy(k.recvTerminator[:], terminators[terminatorSize:])
	if !initiator {
		k.sendTerminator, k.recvTerminator = k.recvTerminator, k.sendTerminator
	}
	return k
}

// hmacSHA256 sets out to the MAC of msg, which is shorter than a block.
func hmacSHA256(out *[32]byte, key, msg []byte) {
	mac := hmac.New(sha256.New, key)
	mac.Write(msg)
	mac.Sum(out[:0])
	mac.Reset()
	var zeros [sha256.BlockSize - 1]byte
	mac.Write(zeros[:]) // over the message, which is still in its buffer
}

// wipe zeroes the cipher keys, once the ciphers are made or given up. The
// session id and the terminators are not secret from the peer and stay.
func (k *sessionKeys) wipe() {
	for _, b := range []*[32]byte{&k.sendL, &k.sendP, &k.recvL, &k.recvP} {
		clear(b[:])
	}
}
