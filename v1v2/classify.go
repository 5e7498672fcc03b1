package v1v2

import (
	"encoding/hex"
	"errors"
	"io"
)

// VersionPrefix is what follows the magic at the start of every v1 connection.
const VersionPrefix = "version\x00\x00\x00\x00\x00"

// ErrNotVersion says that a stream begins with the magic of a known network,
// and so in v1, but not with a VERSION message as v1 must.
var ErrNotVersion = errors.New("a v1 message that is not VERSION comes first")

// Classify looks at a connection's first bytes, without consuming any, until
// it is certain whether they begin a v1 VERSION message, and then returns the
// network's magic. Any network will do, so the first four bytes say nothing;
// from the fifth on, the first byte that differs decides.
//
// What is v1 but no whole VERSION header is an error, so that it is not taken
// for something else and sent on in plaintext: ErrNotVersion, and
// io.ErrUnexpectedEOF if the stream ends within it.
func Classify(r interface{ Peek(int) ([]byte, error) }) (magic [4]byte, v1 bool, err error) {
	for n := len(magic) + 1; n <= len(magic)+len(VersionPrefix); n++ {
		b, err := r.Peek(n)
		copy(magic[:], b)
		_, known := networks[magic]
		switch {
		case errors.Is(err, io.EOF) && (len(b) > len(magic) || known):
			return magic, false, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return magic, false, nil
		case err != nil:
			return magic, false, err
		case b[n-1] == VersionPrefix[n-1-len(magic)]:
		case known:
			return magic, false, ErrNotVersion
		default:
			return magic, false, nil
		}
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

// Magic returns the magic of the network called name, by NetworkName's names.
func Magic(name string) (magic [4]byte, ok bool) {
	for magic, its := range networks {
		if its == name {
			return magic, true
		}
	}
	return magic, false
}
