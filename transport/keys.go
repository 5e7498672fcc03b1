package transport

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
