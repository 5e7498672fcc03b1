package transport

import (
	"crypto/hkdf"
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
func deriveKeys(secret *[32]byte, magic [4]byte, initiator bool) (*sessionKeys, error) {
	prk, err := hkdf.Extract(sha256.New, secret[:], append([]byte("bitcoin_v2_shared_secret"), magic[:]...))
	if err != nil {
		return nil, err
	}
	defer clear(prk)
	var terminators [2 * terminatorSize]byte
	k := new(sessionKeys)
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
		b, err := hkdf.Expand(sha256.New, prk, d.info, len(d.out))
		if err != nil {
			k.wipe()
			return nil, err
		}
		copy(d.out[:], b)
		clear(b)
	}
	copy(k.sendTerminator[:], terminators[:terminatorSize])
	copy(k.recvTerminator[:], terminators[terminatorSize:])
	if !initiator {
		k.sendTerminator, k.recvTerminator = k.recvTerminator, k.sendTerminator
	}
	return k, nil
}

// wipe zeroes the cipher keys, once the ciphers are made or given up. The
// session id and the terminators are not secret from the peer and stay.
func (k *sessionKeys) wipe() {
	for _, b := range []*[32]byte{&k.sendL, &k.sendP, &k.recvL, &k.recvP} {
		clear(b[:])
	}
}
