package transport

import (
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	//lint:ignore SA1019 chacha20poly1305 authenticates only packets that are in memory as a whole
	"golang.org/x/crypto/poly1305"
)

// verifier authenticates packets while they arrive without storing them: up to the
// version packet only the ignore bit matters, and the peer chooses the sizes. It
// computes the AEAD of FSChaCha20Poly1305 (RFC 8439, section 2.8) in pieces; after
// finish, that of golang.org/x/crypto continues.
type verifier struct {
	length  *fsChaCha20
	key     [32]byte
	packets uint32 // with the current key
	rekeys  uint64

	// Of the packet that is arriving:
	part   [max(lengthSize, Tailroom)]byte // what has arrived of its length or its tag
	have   int                             // size of part so far
	size   int                             // of header and contents; 0 before it is known
	left   int                             // bytes of size that have not arrived
	header byte                            // keystream until the header has arrived
	aad    int                             // size
	mac    *poly1305.MAC
}

func newVerifier(lengthKey, key *[32]byte) *verifier {
	return &verifier{length: newFSChaCha20(lengthKey), key: *key}
}

// receive takes bytes of a packet with associated data aad and returns how many it
// consumed. It reports whether the packet is whole, with the right tag, and then whether
// it is a decoy. The error is ErrAuthentication or a *SizeError, and final.
func (v *verifier) receive(in, aad []byte) (n int, whole, ignore bool, err error) {
	switch {
	case v.size == 0:
		n = v.collect(in, lengthSize)
		if v.have == lengthSize {
			err = v.begin(aad)
		}
	case v.left > 0:
		if v.left == v.size {
			v.header ^= in[0]
		}
		n = min(len(in), v.left)
		v.mac.Write(in[:n])
		v.left -= n
	default:
		n = v.collect(in, Tailroom)
		if v.have == Tailroom {
			whole, ignore, err = true, v.header&ignoreBit != 0, v.end()
		}
	}
	return n, whole && err == nil, ignore, err
}

// collect fills part up to size bytes and returns how many it took.
func (v *verifier) collect(in []byte, size int) (n int) {
	n = copy(v.part[v.have:size], in)
	v.have += n
	return n
}

// begin decrypts the length and sets up the packet's MAC.
func (v *verifier) begin(aad []byte) error {
	n, err := v.length.openLength(v.part[:])
	if err != nil {
		return err
	}
	aroundAEAD(false)
	var blocks [64 + 1]byte // the MAC's key, and the header's keystream
	v.keystream(blocks[:], v.packets)
	v.mac, v.header = poly1305.New((*[32]byte)(blocks[:])), blocks[64]
	clear(blocks[:])
	aroundAEAD(true)
	v.have, v.aad = 0, len(aad)
	v.size = headerSize + n
	v.left = v.size
	v.mac.Write(aad)
	v.pad(len(aad))
	return nil
}

// end verifies the tag and counts the packet.
func (v *verifier) end() error {
	v.pad(v.size)
	var sizes [16]byte
	binary.LittleEndian.PutUint64(sizes[:8], uint64(v.aad))
	binary.LittleEndian.PutUint64(sizes[8:], uint64(v.size))
	v.mac.Write(sizes[:])
	right := v.mac.Verify(v.part[:Tailroom]) // in constant time
	*v.mac = poly1305.MAC{}
	if !right {
		return ErrAuthentication
	}
	v.have, v.size = 0, 0
	if v.packets++; v.packets == rekeyInterval {
		aroundAEAD(false)
		var blocks [64 + 32]byte // the second begins with the next key
		v.keystream(blocks[:], 0xffffffff)
		v.key = [32]byte(blocks[64:])
		clear(blocks[:])
		aroundAEAD(true)
		v.packets = 0
		v.rekeys++
	}
	return nil
}

// pad pads n bytes of the MAC's input to whole blocks.
func (v *verifier) pad(n int) {
	var zero [16]byte
	v.mac.Write(zero[:-n&15])
}

// keystream XORs b with the keystream of a nonce.
func (v *verifier) keystream(b []byte, packets uint32) {
	var stream chacha20.Cipher
	setStream(&stream, &v.key, packets, v.rekeys)
	stream.XORKeyStream(b, b)
	stream = chacha20.Cipher{}
}

// finish returns the ciphers for the packets that follow and wipes the verifier.
func (v *verifier) finish() (*direction, error) {
	aead, err := chacha20poly1305.New(v.key[:])
	if err != nil {
		return nil, err
	}
	d := &direction{v.length, &fsChaCha20Poly1305{aead: aead, packets: v.packets, rekeys: v.rekeys}}
	*v = verifier{}
	return d, nil
}

// wipe zeroes the keys.
func (v *verifier) wipe() {
	if v.length != nil {
		v.length.wipe()
	}
	if v.mac != nil {
		*v.mac = poly1305.MAC{}
	}
	*v = verifier{}
}
