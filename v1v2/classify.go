package v1v2

import (
	"encoding/hex"
	"errors"
	"io"
)

// VersionPrefix is what follows the magic at the start of every v1 connection.
const VersionPrefix = "version\x00\x00\x00\x00\x00"

// Classify looks at a connection's first bytes, without consuming any, until
// it is certain whether they begin a v1 VERSION message, and then returns the
// network's magic. Any network will do, so the first four bytes say nothing;
// from the fifth on, the first byte that differs decides. A stream that ends
// is not v1.
func Classify(r interface{ Peek(int) ([]byte, error) }) (magic [4]byte, v1 bool, err error) {
	for n := len(magic) + 1; n <= len(magic)+len(VersionPrefix); n++ {
		b, err := r.Peek(n)
		if errors.Is(err, io.EOF) {
			return magic, false, nil
		}
		if err != nil {
			return magic, false, err
		}
		if b[n-1] != VersionPrefix[n-1-len(magic)] {
			return magic, false, nil
		}
		copy(magic[:], b)
	}
	return magic, true, nil
}

// networks are the names of the networks that have one, by magic.
var networks = map[[4]byte]string{
	{0xf9, 0xbe, 0xb4, 0xd9}: "mainnet",
	{0x0b, 0x11, 0x09, 0x07}: "testnet3",
	{0x1c, 0x16, 0x3f, 0x28}: "testnet4",
	{0x0a, 0x03, 0xcf, 0x40}: "signet",
	{0xfa, 0xbf, 0xb5, 0xda}: "regtest",
	{0x16, 0x1c, 0x14, 0x12}: "simnet",
}

// NetworkName returns the name of the network with the given magic, for
// display; the magic in hex if it has none, as every custom signet.
func NetworkName(magic [4]byte) string {
	if name, ok := networks[magic]; ok {
		return name
	}
	return hex.EncodeToString(magic[:])
}
