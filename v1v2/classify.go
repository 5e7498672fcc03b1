package v1v2

import (
	"errors"
	"io"
	"slices"

	"bip324proxy/transport"
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
		known := slices.ContainsFunc(transport.Networks, func(n transport.Network) bool { return n.Magic == magic })
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
