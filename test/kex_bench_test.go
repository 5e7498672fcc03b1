package test

import (
	"crypto/rand"
	"testing"

	"bip324proxy/transport"

	"github.com/btcsuite/btcd/btcec/v2/ellswift"
)

// BenchmarkKeyExchange is one side's: a key, its encoding, and the secret shared
// with a peer whose key is another every time. Ours can only be had with what
// follows, too: the key schedule, the ciphers, the version packet. The transport
// package has the same benchmark without.
func BenchmarkKeyExchange(b *testing.B) {
	var keys [1024][transport.KeySize]byte
	for i := range keys {
		rand.Read(keys[i][:]) // every 64 bytes are somebody's key
	}
	b.Run("impl=ours", func(b *testing.B) {
		cfg := transport.Config{Magic: mainnetMagic, Garbage: []byte{}}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			h, err := transport.NewHandshake(cfg, true)
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := h.Receive(keys[i%len(keys)][:]); err != nil || h.Stage() != transport.StageGarbage {
				b.Fatal(h.Stage(), err)
			}
		}
	})
	b.Run("impl=btcd", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			key, ours, err := ellswift.EllswiftCreate()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := ellswift.V2Ecdh(key, keys[i%len(keys)], ours, true); err != nil {
				b.Fatal(err)
			}
		}
	})
}
