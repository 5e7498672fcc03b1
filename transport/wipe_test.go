package transport

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// HKDF gives the same as the standard library's.
func TestHKDF(t *testing.T) {
	for seed := range uint64(50) {
		secret, salt := testBytes(32, seed), testBytes(28, seed+100)
		info := string(testBytes(int(seed), seed+200))
		prk, err := hkdf.Extract(sha256.New, secret, salt)
		if err != nil {
			t.Fatal(err)
		}
		want, err := hkdf.Expand(sha256.New, prk, info, 32)
		if err != nil {
			t.Fatal(err)
		}
		var got, key [32]byte
		hmacSHA256(&key, salt, secret)
		hkdfExpand(&got, &key, info)
		if !bytes.Equal(key[:], prk) || !bytes.Equal(got[:], want) {
			t.Errorf("%x and %x, want %x and %x", key, got, prk, want)
		}
	}
}

// A wiped cipher has the key zero: x/crypto's type has no other secret.
func TestWipeAEAD(t *testing.T) {
	ours, err := chacha20poly1305.New(testBytes(32, 1))
	if err != nil {
		t.Fatal(err)
	}
	zero, err := chacha20poly1305.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	wipeAEAD(ours)
	nonce := make([]byte, 12)
	if got, want := ours.Seal(nil, nonce, nil, nil), zero.Seal(nil, nonce, nil, nil); !bytes.Equal(got, want) {
		t.Errorf("a wiped cipher seals to %x, want %x", got, want)
	}
}
