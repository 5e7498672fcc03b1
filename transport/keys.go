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
// Every output is one block, which makes each step of HKDF one HMAC (RFC 5869).
// crypto/hkdf would leave a copy of every key behind.
func deriveKeys(secret *[32]byte, magic [4]byte, initiator bool) *sessionKeys {
	var prk [32]byte
	defer clear(prk[:])
	extract := hmac.New(sha256.New, append([]byte("bitcoin_v2_shared_secret"), magic[:]...))
	extract.Write(secret[:])
	extract.Sum(prk[:0])
	extract.Reset()
	extract.Write(make([]byte, len(secret))) // over the secret, which is still in its buffer

	k := new(sessionKeys)
	var terminators [2 * terminatorSize]byte
	initL, initP, respL, respP := &k.sendL, &k.sendP, &k.recvL, &k.recvP
	if !initiator {
		initL, initP, respL, respP = respL, respP, initL, initP
	}
	expand := hmac.New(sha256.New, prk[:])
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
		expand.Reset()
		expand.Write([]byte(d.info))
		expand.Write([]byte{1}) // the first block
		expand.Sum(d.out[:0])
	}
	copy(k.sendTerminator[:], terminators[:terminatorSize])
	copy(k.recvTerminator[:], terminators[terminatorSize:])
	if !initiator {
		k.sendTerminator, k.recvTerminator = k.recvTerminator, k.sendTerminator
	}
	return k
}

// wipe zeroes the cipher keys, once the ciphers are made or given up. The
// session id and the terminators are not secret from the peer and stay.
func (k *sessionKeys) wipe() {
	for _, b := range []*[32]byte{&k.sendL, &k.sendP, &k.recvL, &k.recvP} {
		clear(b[:])
	}
}
