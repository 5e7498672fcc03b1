package test

import (
	"crypto/rand"
	"testing"

	"bip324proxy/transport"

	"github.com/btcsuite/btcd/btcec/v2/ellswift"
)

// BenchmarkKeyExchange measures one side's key exchange: a new key, its encoding, and the secret shared with a peer
// whose key changes every time. Our side includes the key schedule, the ciphers and the version packet; the transport
// package has the same benchmark without them.
func BenchmarkKeyExchange(b *testing.B) {
	var keys [1024][transport.KeySize]byte
	for i := range keys {
		rand.Read(keys[i][:]) // any 64 bytes are a valid key
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
