// Package hostile plays the ends that the proxy stands between, as an attacker would write them: a BIP324 peer that
// breaks one rule at a time, and a client that breaks those of SOCKS5 and v1. Nothing of it is the proxy's own code:
// keys are btcec's, ciphers btcd's v2transport's, and the handshake and the framing are written here from the BIP.
package hostile

// Script is what an End does wrong. The zero value keeps to BIP324; each field breaks one rule of it or takes one
// liberty that few take.
type Script struct {
	Magic [4]byte // of the network; zero means mainnet

	Key        *[64]byte // sent as the public key, whose private key nobody has
	ReflectKey bool      // a responder sends the initiator's key back as its own

	Garbage      []byte                             // behind the key; nil means none
	GarbageFrom  func(terminator [16]byte) []byte   // the same, made from the terminator that follows it; a responder's only
	FlipGarbage  int                                // what is sent of the garbage differs from what is authenticated in this bit, counted from 1
	Terminator   []byte                             // sent instead of ours; not nil but empty means none
	FlipBit      int                                // of the terminator, counted from 1
	SwapTerms    bool                               // sends the terminator that belongs to the other direction
	SwapKeys     bool                               // seals with the keys of the other direction
	Decoys       []int                              // contents sizes of decoys before the version packet
	Version      []byte                             // contents of the version packet
	NoVersion    bool                               // the version packet never comes
	AAD          func(n int, garbage []byte) []byte // associated data of packet n, from 0; nil means the BIP's
	HeaderBits   byte                               // set in every packet's header
	Filler       []byte                             // sent right behind the version packet
	KeyAfter     int                                // a responder answers after so many bytes of the initiator's key, from 1; 0 means 64
	KeyFirst     bool                               // a responder sends its key and garbage before it has read anything
	Mangle       func(n int, packet []byte) []byte  // what leaves instead of packet n, counted from 0 and with the decoys
	WriteInParts int                                // bytes per write; 0 means all at once
}

// mainnet's message start.
var mainnet = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}

func (s *Script) magic() [4]byte {
	if s.Magic == [4]byte{} {
		return mainnet
	}
	return s.Magic
}
