package v1v2

import (
	"errors"
	"io"
	"slices"

	"bip324proxy/transport"
)

// VersionPrefix follows the magic at the start of every v1 connection.
const VersionPrefix = "version\x00\x00\x00\x00\x00"

// ErrNotVersion reports a stream that begins with the magic of a known network, and
// so is v1, but whose first message is not VERSION.
var ErrNotVersion = errors.New("the first v1 message is not VERSION")

// Classify peeks at the first bytes of a connection until it is certain whether they
// begin a v1 VERSION message, and returns the network's magic. Any magic is accepted, so
// the first four bytes decide nothing; from the fifth on, the first byte that differs does.
//
// A v1 stream without a complete VERSION header is an error, lest it be passed on in
// plaintext as an unknown protocol: ErrNotVersion, or io.ErrUnexpectedEOF if the stream
// ends within the header.
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
