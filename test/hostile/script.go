// Package hostile plays hostile peers and clients: a BIP324 peer that breaks one rule at a time, and a client that
// breaks the rules of SOCKS5 and v1. It shares no code with the proxy: the keys are btcec's, the ciphers btcd's
// v2transport's, and the handshake and the framing are written here from the BIP.
package hostile

// Script is how an End deviates. The zero value follows BIP324; each field breaks one of its rules or uses one of its
// rare freedoms.
type Script struct {
	Magic [4]byte // of the network; zero means mainnet

	Key        *[64]byte // sent as the public key; its private key is unknown
	ReflectKey bool      // a responder sends the initiator's key back as its own

	Garbage      []byte                             // after the key; nil means none
	GarbageFrom  func(terminator [16]byte) []byte   // the same, derived from the terminator that follows; responder only
	FlipGarbage  int                                // flips this bit, counted from 1, of the garbage sent but not of that authenticated
	Terminator   []byte                             // sent instead of ours; empty but not nil means none
	FlipBit      int                                // flips this bit of the terminator, counted from 1
	SwapTerms    bool                               // sends the terminator that belongs to the other direction
	SwapKeys     bool                               // seals with the keys of the other direction
	Decoys       []int                              // contents sizes of decoys before the version packet
	Version      []byte                             // contents of the version packet
	NoVersion    bool                               // sends no version packet
	AAD          func(n int, garbage []byte) []byte // associated data of packet n, from 0; nil means the BIP's
	HeaderBits   byte                               // set in the header of every packet
	Filler       []byte                             // sent right after the version packet
	KeyAfter     int                                // a responder answers after so many bytes of the initiator's key, from 1; 0 means 64
	KeyFirst     bool                               // a responder sends its key and garbage before it has read anything
	Mangle       func(n int, packet []byte) []byte  // returns what to send instead of packet n, counted from 0, decoys included
	WriteInParts int                                // bytes per write; 0 means all at once
}

// mainnet is mainnet's message start.
var mainnet = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}

func (s *Script) magic() [4]byte {
	if s.Magic == [4]byte{} {
		return mainnet
	}
	return s.Magic
}
