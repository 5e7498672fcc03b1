package transport

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

const (
	// MaxContents is the maximum size of a packet's contents, in bytes: one byte of
	// message id, twelve of a long message type, and Bitcoin's largest message (Bitcoin
	// Core, MAX_CONTENTS_LEN).
	MaxContents = 1 + 12 + 4_000_000

	// Headroom is the size, in bytes, of what precedes a packet's contents: the encrypted
	// length and the header.
	Headroom = lengthSize + headerSize

	// Tailroom is the size, in bytes, of what follows a packet's contents: the tag.
	Tailroom = 16

	// Spare is how many writable bytes LastPacket can put before the contents.
	Spare = 24

	lengthSize = 3
	headerSize = 1

	// ignoreBit marks a decoy in the header byte. The other bits are reserved and
	// ignored.
	ignoreBit = 0x80
)

// ErrAuthentication reports that a packet's tag is wrong: it was altered, or the two
// sides have different keys.
var ErrAuthentication = errors.New("packet authentication failed")

// SizeError reports packet contents larger than MaxContents, or than LimitContents allows.
type SizeError struct {
	Contents int // bytes
	Limit    int // bytes; 0: MaxContents
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("packet contents of %d bytes, over the limit of %d", e.Contents, cmp.Or(e.Limit, MaxContents))
}

// direction has the ciphers of one direction, to seal packets or to open them.
type direction struct {
	length  *fsChaCha20
	content *fsChaCha20Poly1305
}

func newDirection(lengthKey, key *[32]byte) (*direction, error) {
	content, err := newFSChaCha20Poly1305(key)
	if err != nil {
		return nil, err
	}
	return &direction{newFSChaCha20(lengthKey), content}, nil
}

func (d *direction) wipe() { d.length.wipe(); d.content.wipe() }

// packetSize returns the size of a packet with n bytes of contents.
func packetSize(n int) int { return Headroom + n + Tailroom }

// seal appends a packet with the given contents to dst (BIP324, v2_enc_packet). Contents
// that lie where the packet will have them, Headroom bytes past dst's end, are encrypted
// in place.
func (d *direction) seal(dst, contents, aad []byte, ignore bool) []byte {
	dst = slices.Grow(dst, packetSize(len(contents)))
	at := len(dst) + Headroom
	copy(dst[at:at+len(contents)], contents)
	return d.sealInPlace(dst, len(contents), aad, ignore)
}

// sealInPlace is seal for n bytes of contents that lie where the packet will have them.
func (d *direction) sealInPlace(dst []byte, n int, aad []byte, ignore bool) []byte {
	start := len(dst)
	p := dst[start : start+Headroom+n : start+packetSize(n)]
	p[0], p[1], p[2] = byte(n), byte(n>>8), byte(n>>16)
	p[3] = 0
	if ignore {
		p[3] = ignoreBit
	}
	d.length.crypt(p[:lengthSize])
	d.content.seal(p[lengthSize:], aad)
	return dst[:start+packetSize(n)]
}

// openLength decrypts a packet's length in place and returns the size of its contents.
// The error is a *SizeError.
func (f *fsChaCha20) openLength(b []byte) (int, error) {
	b = b[:lengthSize]
	f.crypt(b)
	n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	if n > MaxContents {
		return 0, &SizeError{Contents: n}
	}
	return n, nil
}

// open authenticates and decrypts the rest of a packet, header, contents and tag, in
// place.
func (d *direction) open(b, aad []byte) (contents []byte, ignore bool, err error) {
	plain, err := d.content.open(b, aad)
	if err != nil {
		return nil, false, ErrAuthentication
	}
	return plain[headerSize:], plain[0]&ignoreBit != 0, nil
}

// Session is an established session without a socket. One goroutine may seal while
// another opens.
type Session struct {
	id  [32]byte
	out *direction
	in  *direction
}

// ID returns BIP324's session id.
func (s *Session) ID() [32]byte { return s.id }

// Seal appends a packet with contents, at most MaxContents bytes, to dst. They are
// encrypted in place if they lie in dst's memory, Headroom bytes past its end, with
// Tailroom bytes behind them; otherwise they must not overlap it.
func (s *Session) Seal(dst, contents []byte, decoy bool) ([]byte, error) {
	if len(contents) > MaxContents {
		return dst, &SizeError{Contents: len(contents)}
	}
	return s.out.seal(dst, contents, nil, decoy), nil
}

// OpenLength decrypts the first three bytes of a packet in place and returns the size
// of the rest. It must be called once for each packet. The error is a *SizeError and
// ends the session.
func (s *Session) OpenLength(b []byte) (rest int, err error) {
	n, err := s.in.length.openLength(b)
	if err != nil {
		return 0, err
	}
	return packetSize(n) - lengthSize, nil
}

// Open authenticates and decrypts the rest of a packet in place and returns its
// contents. The error is ErrAuthentication and ends the session.
func (s *Session) Open(b []byte) (contents []byte, decoy bool, err error) {
	return s.in.open(b, nil)
}
