package v1v2

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"net"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

const (
	// HeaderSize is the size of a v1 header, in bytes.
	HeaderSize = 24

	// MaxPayload is Bitcoin Core's MAX_PROTOCOL_MESSAGE_LENGTH, in bytes.
	MaxPayload = 4_000_000
)

// MagicError reports a v1 header that does not begin with the network's magic: the stream
// is out of step.
type MagicError struct {
	Got, Want [4]byte
}

func (e *MagicError) Error() string {
	return fmt.Sprintf("v1 header with magic %x instead of %x", e.Got, e.Want)
}

// LengthError reports a message whose payload is larger than MaxPayload.
type LengthError struct {
	Type   Type
	Length uint32 // bytes
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("message %q of %d bytes, over the limit of %d", e.Type, e.Length, MaxPayload)
}

// Message is a v1 message.
type Message struct {
	Type Type

	// buf is HeaderSize bytes, the payload and, if the message is large, room for a
	// packet's tag.
	buf   []byte
	large bool
	drop  Reason
}

// Dropped describes a message for which Next returned ok false.
func (m *Message) Dropped() Dropped { return Dropped{Reason: m.drop, Type: m.Type} }

// Payload returns the message's payload.
func (m *Message) Payload() []byte { return m.Raw()[HeaderSize:] }

// Raw returns the v1 message, header and payload. Contents overwrites it.
func (m *Message) Raw() []byte {
	if m.large {
		return m.buf[:len(m.buf)-transport.Tailroom]
	}
	return m.buf
}

// Detach keeps a message valid until the next call of Next, whatever else is read through
// the Reader's buffer.
func (m *Message) Detach() {
	if !m.large {
		m.buf = bytes.Clone(m.buf)
	}
}

// Contents returns the message as the contents of a v2 packet, with the ids that Bitcoin
// Core knows. It overwrites Raw.
func (m *Message) Contents() []byte { return m.contents(nil) }

func (m *Message) contents(ids *peerIDs) []byte {
	return m.Raw()[m.Type.encode(m.buf, HeaderSize, ids):]
}

// send sends the message to the peer: a large one at once, sealed in place; a small one
// with the next flush.
func (m *Message) send(peer *transport.Conn, ids *peerIDs) error {
	if m.large {
		return peer.WriteInPlace(m.buf[m.Type.encode(m.buf, HeaderSize, ids)-transport.Headroom:])
	}
	return peer.Queue(m.contents(ids))
}

// Reader reads v1 messages. Most programs do not need this: a Conn has one for what its
// user writes.
type Reader struct {
	// Alter, if not nil, is called with every message that is not dropped. If it returns
	// another payload, not nil, Next returns the message with that one. It must not change
	// the payload that it gets.
	Alter func(t Type, payload []byte) []byte

	r     *stream.Reader
	magic [4]byte
	body  stream.Body
	sum   hash.Hash // of a large message; nil before the first
	head  header    // of the next message
	begun bool      // head is parsed
}

// NewReader returns a Reader of the messages in r, which have the given magic. It reads
// ahead, and sets no deadlines.
func NewReader(r io.Reader, magic [4]byte) *Reader {
	reader := &Reader{magic: magic}
	switch r := r.(type) {
	case *stream.Reader: // the one buffered reader of its socket
		reader.r = r
	case net.Conn:
		reader.r = stream.NewReader(r)
	default:
		reader.r = stream.NewReader(onlyReader{r: r})
	}
	return reader
}

// Read reads what follows the last message, as it is.
func (r *Reader) Read(p []byte) (int, error) {
	r.begun = false
	return r.r.Read(p)
}

// Next reads a message, which is valid until the next call. For one with a wrong checksum
// or an invalid type ok is false, and it must be dropped: v2 has no checksums, so
// translating it would make it valid. The error is io.EOF between messages,
// io.ErrUnexpectedEOF within one, a *MagicError or a *LengthError, and final.
func (r *Reader) Next() (m Message, ok bool, err error) {
	r.body.Release()
	if err := r.header(); err != nil {
		return m, false, err
	}
	head := &r.head
	m.Type = head.Type
	n := HeaderSize + int(head.length)
	if m.large = n > r.r.Size(); m.large {
		r.begun = false
		return r.large(head)
	}
	if m.buf, err = r.r.Peek(n); err != nil {
		return m, false, unexpected(err)
	}
	r.r.Discard(n)
	r.begun = false
	m.drop = head.drop(checksum(m.buf[HeaderSize:]))
	r.alter(&m)
	return m, m.drop == 0, nil
}

// large reads a message that does not fit the buffer, hashing it as it arrives.
func (r *Reader) large(head *header) (m Message, ok bool, err error) {
	if r.sum == nil {
		r.sum = sha256.New()
	}
	r.sum.Reset()
	var raw [HeaderSize]byte
	r.r.Read(raw[:]) // is buffered
	if err := r.r.ReadBody(&r.body, HeaderSize, int(head.length), transport.Tailroom, r.sum); err != nil {
		r.body.Release()
		return m, false, err
	}
	m = Message{Type: head.Type, buf: r.body.Bytes, large: true}
	copy(m.buf, raw[:])
	var once [sha256.Size]byte
	twice := sha256.Sum256(r.sum.Sum(once[:0]))
	m.drop = head.drop([4]byte(twice[:]))
	r.alter(&m)
	return m, m.drop == 0, nil
}

// alter gives m the payload that Alter returns.
func (r *Reader) alter(m *Message) {
	if r.Alter == nil || m.drop != 0 {
		return
	}
	payload := r.Alter(m.Type, m.Payload())
	if payload == nil {
		return
	}
	m.buf = AppendMessage(make([]byte, 0, HeaderSize+len(payload)+transport.Tailroom), r.magic, m.Type, payload)
	if m.large = len(m.buf) > r.r.Size(); m.large {
		m.buf = m.buf[:len(m.buf)+transport.Tailroom]
	}
	r.body.Release()
}

// ReleaseLast releases the memory of the last message.
func (r *Reader) ReleaseLast() { r.body.Release() }

// Release releases all memory. Next must not be called after it.
func (r *Reader) Release() {
	r.body.Release()
	r.r.Release()
}

// Buffered reports whether Next would return without waiting for the socket. A large message
// counts as not buffered.
func (r *Reader) Buffered() bool {
	if r.r.Buffered() < HeaderSize {
		return false
	}
	if r.header() != nil {
		return true
	}
	n := HeaderSize + int(r.head.length)
	return n <= min(r.r.Buffered(), r.r.Size())
}

type header struct {
	Type     Type
	length   uint32
	checksum [4]byte
}

// header sets head, without consuming it.
func (r *Reader) header() error {
	if r.begun {
		return nil
	}
	b, err := r.r.Peek(HeaderSize)
	if err != nil {
		if len(b) > 0 {
			err = unexpected(err)
		}
		return err
	}
	r.head, err = parseHeader(b, r.magic)
	r.begun = err == nil
	return err
}

// parseHeader parses the header at the start of b. The error is a *MagicError or a
// *LengthError.
func parseHeader(b []byte, magic [4]byte) (h header, err error) {
	if got := [4]byte(b); got != magic {
		return h, &MagicError{Got: got, Want: magic}
	}
	h = header{Type(b[4:]), binary.LittleEndian.Uint32(b[16:]), [4]byte(b[20:])}
	if h.length > MaxPayload {
		return h, &LengthError{Type: h.Type, Length: h.length}
	}
	return h, nil
}

// drop returns why the message must be dropped, if it must, in Bitcoin Core's order. sum is
// the checksum of its payload.
func (h *header) drop(sum [4]byte) Reason {
	if sum != h.checksum {
		return WrongChecksum
	}
	if !h.Type.valid(0x7e) {
		return InvalidType
	}
	return 0
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// putHeader writes the v1 header of a message into b.
func putHeader(b []byte, magic [4]byte, t Type, payload []byte) {
	_ = b[HeaderSize-1]
	copy(b, magic[:])
	copy(b[4:], t[:])
	binary.LittleEndian.PutUint32(b[16:], uint32(len(payload)))
	sum := checksum(payload)
	copy(b[20:], sum[:])
}

// AppendMessage appends a v1 message to b.
func AppendMessage(b []byte, magic [4]byte, t Type, payload []byte) []byte {
	var head [HeaderSize]byte
	putHeader(head[:], magic, t, payload)
	return append(append(b, head[:]...), payload...)
}
