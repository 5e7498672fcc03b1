package transport

import (
	"crypto/cipher"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// rekeyInterval is how many packets one key serves (BIP324, REKEY_INTERVAL).
const rekeyInterval = 224

// fsChaCha20 is BIP324's FSChaCha20, a stream cipher that takes a new key from its own
// keystream after every 224 chunks. It encrypts the lengths of packets.
type fsChaCha20 struct {
	stream chacha20.Cipher
	chunks uint32 // with the current key
	rekeys uint64
}

func newFSChaCha20(key *[32]byte) *fsChaCha20 {
	f := new(fsChaCha20)
	f.setKey(key)
	return f
}

func (f *fsChaCha20) setKey(key *[32]byte) { setStream(&f.stream, key, 0, f.rekeys) }

// setStream sets stream to ChaCha20 with the nonce that packets and rekeys make.
func setStream(stream *chacha20.Cipher, key *[32]byte, packets uint32, rekeys uint64) {
	var nonce [chacha20.NonceSize]byte
	putNonce(nonce[:], packets, rekeys)
	c, err := chacha20.NewUnauthenticatedCipher(key[:], nonce[:])
	if err != nil {
		panic("transport: internal error: " + err.Error()) // only for wrong sizes
	}
	*stream = *c
	*c = chacha20.Cipher{}
}

// wipe zeroes the key.
func (f *fsChaCha20) wipe() { f.stream = chacha20.Cipher{} }

// crypt encrypts or decrypts a chunk in place.
func (f *fsChaCha20) crypt(chunk []byte) {
	f.stream.XORKeyStream(chunk, chunk)
	if f.chunks++; f.chunks == rekeyInterval {
		var key [32]byte
		f.stream.XORKeyStream(key[:], key[:])
		f.chunks = 0
		f.rekeys++
		f.setKey(&key)
		clear(key[:])
	}
}

// fsChaCha20Poly1305 is BIP324's FSChaCha20Poly1305, an AEAD that counts nonces and
// takes a new key from its own keystream after every 224 packets.
type fsChaCha20Poly1305 struct {
	aead    cipher.AEAD
	packets uint32 // with the current key
	rekeys  uint64
	nonce   [chacha20poly1305.NonceSize]byte // a field, so that it stays off the heap
}

// newFSChaCha20Poly1305 fails only where the Go runtime enforces FIPS 140, which does
// not allow ChaCha20.
func newFSChaCha20Poly1305(key *[32]byte) (*fsChaCha20Poly1305, error) {
	aead, err := chacha20poly1305.New(key[:])
	if err != nil {
		return nil, err
	}
	return &fsChaCha20Poly1305{aead: aead}, nil
}

// seal encrypts plaintext in place and appends the tag, for which it needs 16 bytes of
// capacity.
func (f *fsChaCha20Poly1305) seal(plaintext, aad []byte) []byte {
	aroundAEAD(false)
	out := f.aead.Seal(plaintext[:0], f.count(f.packets), plaintext, aad)
	f.next()
	aroundAEAD(true)
	return out
}

// open authenticates and decrypts ciphertext in place.
func (f *fsChaCha20Poly1305) open(ciphertext, aad []byte) ([]byte, error) {
	aroundAEAD(false)
	out, err := f.aead.Open(ciphertext[:0], f.count(f.packets), ciphertext, aad)
	if err == nil {
		f.next()
	}
	aroundAEAD(true)
	return out, err
}

// count sets and returns the nonce.
func (f *fsChaCha20Poly1305) count(packets uint32) []byte {
	putNonce(f.nonce[:], packets, f.rekeys)
	return f.nonce[:]
}

// putNonce sets nonce to 32 bits of packets and 64 bits of rekeys.
func putNonce(nonce []byte, packets uint32, rekeys uint64) {
	binary.LittleEndian.PutUint32(nonce[:4], packets)
	binary.LittleEndian.PutUint64(nonce[4:], rekeys)
}

func (f *fsChaCha20Poly1305) next() {
	if f.packets++; f.packets < rekeyInterval {
		return
	}
	// The next key is the start of the keystream of the highest nonce.
	var zero [32 + chacha20poly1305.Overhead]byte
	key := f.aead.Seal(zero[:0], f.count(0xffffffff), zero[:32], nil)[:32]
	defer clear(key)
	f.packets = 0
	f.rekeys++
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic("transport: internal error: " + err.Error()) // it worked at the start
	}
	f.wipe()
	f.aead = aead
}

// wipe zeroes the key.
func (f *fsChaCha20Poly1305) wipe() { wipeAEAD(f.aead) }
