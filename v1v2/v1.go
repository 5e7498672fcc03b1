package v1v2

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

const (
	// HeaderSize is the size of a v1 header, in bytes.
	HeaderSize = 24

	// MaxPayload is the largest payload of a message, in bytes (Bitcoin Core,
	// MAX_PROTOCOL_MESSAGE_LENGTH).
	MaxPayload = 4_000_000
)

// MagicError is a v1 header that does not begin with the network's magic: the
// stream is out of step.
type MagicError struct {
	Got, Want [4]byte
}

func (e *MagicError) Error() string {
	return fmt.Sprintf("v1 header with magic %x instead of %x", e.Got, e.Want)
}

// LengthError is a message whose payload is larger than MaxPayload.
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

	// buf is HeaderSize bytes, the payload, and, if the message is large, the
	// room for a packet's tag.
	buf   []byte
	large bool
	drop  Reason
}

// Dropped describes a message that Next found not to be ok.
func (m *Message) Dropped() Dropped { return Dropped{Reason: m.drop, Type: m.Type} }

// Payload returns the message's payload.
func (m *Message) Payload() []byte { return m.Raw()[HeaderSize:] }

// Raw returns the message as it was in v1, header and payload, until Contents
// is called.
func (m *Message) Raw() []byte {
	if m.large {
		return m.buf[:len(m.buf)-transport.Tailroom]
	}
	return m.buf
}

// Detach makes a message stay valid whatever else is read through the Reader's
// buffer, until the Reader's next call to Next.
func (m *Message) Detach() {
	if !m.large {
		m.buf = bytes.Clone(m.buf)
	}
}

// Contents returns the message as the contents of a v2 packet, to a peer of which
// nothing is known. They lie where Raw was.
func (m *Message) Contents() []byte { return m.contents(nil) }

func (m *Message) contents(ids *PeerIDs) []byte {
	return m.Raw()[m.Type.encode(m.buf, HeaderSize, ids):]
}

// send seals the message for the peer: a large one where it lies and at once,
// a small one into what is gathered for the next flush.
func (m *Message) send(peer *transport.Conn, ids *PeerIDs) error {
	if m.large {
		return peer.WriteInPlace(m.buf[m.Type.encode(m.buf, HeaderSize, ids)-transport.Headroom:])
	}
	return peer.Queue(m.contents(ids))
}

// Reader reads v1 messages from a client.
type Reader struct {
	r     *stream.Reader
	magic [4]byte
	body  stream.Body
	sum   hash.Hash // of a large message; nil before the first
}

// NewReader returns a Reader of the network with the given magic.
func NewReader(r *stream.Reader, magic [4]byte) *Reader {
	return &Reader{r: r, magic: magic}
}

// Next reads a message, which is valid until the next call. A message with a wrong
// checksum or an invalid type has ok false, and is for Counts.Drop: v2 has no
// checksums, so passing it on would make it good. The error is io.EOF between messages,
// io.ErrUnexpectedEOF within one, a *MagicError or a *LengthError; after one the
// Reader is of no more use.
func (r *Reader) Next() (m Message, ok bool, err error) {
	r.body.Release()
	head, err := r.header()
	if err != nil {
		return m, false, err
	}
	m.Type = head.Type
	n := HeaderSize + int(head.length)
	if m.large = n > r.r.Size(); m.large {
		return r.large(head)
	}
	if m.buf, err = r.r.Peek(n); err != nil {
		return m, false, unexpected(err)
	}
	r.r.Discard(n)
	m.check(head.checksum == checksum(m.buf[HeaderSize:]))
	return m, m.drop == 0, nil
}

// check judges a message whose checksum is right or not, in the order of Bitcoin Core.
func (m *Message) check(right bool) {
	if !right {
		m.drop = WrongChecksum
	} else if !m.Type.valid(0x7e) {
		m.drop = InvalidType
	}
}

// large reads a message that does not fit the buffer, and hashes it while it
// arrives.
func (r *Reader) large(head header) (m Message, ok bool, err error) {
	if r.sum == nil {
		r.sum = sha256.New()
	}
	r.sum.Reset()
	var raw [HeaderSize]byte
	r.r.Read(raw[:]) // is buffered
	if err := r.r.ReadBody(&r.body, HeaderSize, int(head.length), transport.Tailroom, r.sum); err != nil {
		return m, false, err
	}
	m = Message{Type: head.Type, buf: r.body.Bytes, large: true}
	copy(m.buf, raw[:])
	var once [sha256.Size]byte
	twice := sha256.Sum256(r.sum.Sum(once[:0]))
	m.check(head.checksum == [4]byte(twice[:]))
	return m, m.drop == 0, nil
}

// ReleaseLast gives back the memory of the last message, which is gone then.
func (r *Reader) ReleaseLast() { r.body.Release() }

// Release gives back all memory, when Next is not to be called again.
func (r *Reader) Release() {
	r.body.Release()
	r.r.Release()
}

// Buffered says that Next would return without waiting for the socket.
func (r *Reader) Buffered() bool {
	if r.r.Buffered() < HeaderSize {
		return false
	}
	head, err := r.header()
	return err != nil || r.r.Buffered() >= HeaderSize+int(head.length)
}

type header struct {
	Type     Type
	length   uint32
	checksum [4]byte
}

// header reads the next header and leaves it in the buffer.
func (r *Reader) header() (h header, err error) {
	b, err := r.r.Peek(HeaderSize)
	if err != nil {
		if len(b) > 0 {
			err = unexpected(err)
		}
		return h, err
	}
	if magic := [4]byte(b); magic != r.magic {
		return h, &MagicError{Got: magic, Want: r.magic}
	}
	h = header{Type(b[4:]), binary.LittleEndian.Uint32(b[16:]), [4]byte(b[20:])}
	if h.length > MaxPayload {
		return h, &LengthError{Type: h.Type, Length: h.length}
	}
	return h, nil
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

// AppendMessage appends a message to b as v1 has it.
func AppendMessage(b []byte, magic [4]byte, t Type, payload []byte) []byte {
	var head [HeaderSize]byte
	putHeader(head[:], magic, t, payload)
	return append(append(b, head[:]...), payload...)
}

// checksum is the first four bytes of the payload's double SHA-256.
func checksum(payload []byte) [4]byte {
	once := sha256.Sum256(payload)
	twice := sha256.Sum256(once[:])
	return [4]byte(twice[:])
}
