package hostile

import (
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
)

// Keys holds the secrets that both ends of a handshake share.
type Keys struct {
	Point [32]byte // x coordinate of the ECDH point
	ECDH  [32]byte // the shared secret
	PRK   [32]byte // the output of HKDF-Extract

	SessionID              [32]byte
	InitiatorL, InitiatorP [32]byte
	ResponderL, ResponderP [32]byte

	InitiatorTerminator, ResponderTerminator [16]byte
}

// deriveKeys derives the keys of the ciphers from a private key, as in BIP324.
func deriveKeys(private *btcec.PrivateKey, ours, theirs [64]byte, initiator bool, magic [4]byte) (k Keys, err error) {
	if k.Point, err = ellswift.EllswiftECDHXOnly(theirs, private); err != nil {
		return k, err
	}
	secret, err := ellswift.V2Ecdh(private, theirs, ours, initiator)
	if err != nil {
		return k, err
	}
	k.ECDH = *secret
	prk, err := hkdf.Extract(sha256.New, k.ECDH[:], append([]byte("bitcoin_v2_shared_secret"), magic[:]...))
	if err != nil {
		return k, err
	}
	copy(k.PRK[:], prk)
	var terminators [32]byte
	for info, out := range map[string]*[32]byte{
		"session_id":          &k.SessionID,
		"initiator_L":         &k.InitiatorL,
		"initiator_P":         &k.InitiatorP,
		"responder_L":         &k.ResponderL,
		"responder_P":         &k.ResponderP,
		"garbage_terminators": &terminators,
	} {
		b, err := hkdf.Expand(sha256.New, prk, info, 32)
		if err != nil {
			return k, err
		}
		copy(out[:], b)
	}
	copy(k.InitiatorTerminator[:], terminators[:16])
	copy(k.ResponderTerminator[:], terminators[16:])
	return k, nil
}
