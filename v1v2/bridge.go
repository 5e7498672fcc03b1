package v1v2

import (
	"fmt"
	"net"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

// SocketWriter gathers small messages for a socket and sends them in one write.
type SocketWriter = stream.Writer

// NewSocketWriter returns a SocketWriter on conn. It sets no deadlines.
func NewSocketWriter(conn net.Conn) *SocketWriter { return stream.NewWriter(conn) }

// Side is one side of a session.
type Side string

const (
	Client Side = "client"
	Peer   Side = "peer"
)

// EndError is why a loop ended: Err is io.EOF if the side closed its stream between
// messages, otherwise what is wrong with its stream or the last message.
type EndError struct {
	Side Side
	Err  error
}

func (e *EndError) Error() string { return fmt.Sprintf("%s: %v", e.Side, e.Err) }

func (e *EndError) Unwrap() error { return e.Err }

// ToPeer translates the client's messages until its stream ends or either side fails; the
// error is an *EndError. Messages that arrive together leave together, and none waits for
// the next. ids is what ToClient records about the peer.
func ToPeer(client *Reader, peer *transport.Conn, ids *PeerIDs, counts *Counts) error {
	for {
		m, ok, err := client.Next()
		if err != nil {
			peer.Flush()
			return &EndError{Client, err}
		}
		if ok {
			size := len(m.Raw())
			if err := m.send(peer, ids); err != nil {
				return &EndError{Peer, err}
			}
			counts.Add(m.Type, size)
		} else {
			counts.Drop(m.Dropped())
		}
		if !client.Buffered() {
			if err := peer.Flush(); err != nil {
				return &EndError{Peer, err}
			}
		}
	}
}

// ToClient translates the peer's messages until its stream ends or either side fails; the
// error is an *EndError. It batches like ToPeer, and records in ids which ids the peer
// uses.
func ToClient(peer *transport.Conn, client *SocketWriter, magic [4]byte, ids *PeerIDs, counts *Counts) error {
	defer peer.Release()
	for {
		contents, err := peer.ReadPacket()
		if err != nil {
			client.Flush()
			return &EndError{Peer, err}
		}
		t, payload, drop := decode(contents)
		switch {
		case drop != 0:
			counts.Drop(droppedContents(contents, drop))
		case len(payload) > MaxPayload: // v1 forbids it
			return &EndError{Peer, &LengthError{Type: t, Length: uint32(len(payload))}}
		default:
			if t == versionType {
				counts.NoteVersion(payload)
			}
			ids.note(contents[0])
			// The header takes the place of the id or long form, and needs more room.
			raw := peer.LastPacket(HeaderSize - (len(contents) - len(payload)))
			if err := write(client, raw, magic, t, payload); err != nil {
				return &EndError{Client, err}
			}
			counts.Add(t, HeaderSize+len(payload))
		}
		if !peer.PacketBuffered() {
			if err := client.Flush(); err != nil {
				return &EndError{Client, err}
			}
		}
	}
}

// write sends a message to w. A large one lies in raw, with room for its header before the
// payload, and is sent from there at once. For a small one raw is nil, and it leaves with
// the next flush.
func write(w *SocketWriter, raw []byte, magic [4]byte, t Type, payload []byte) error {
	if raw != nil {
		putHeader(raw, magic, t, payload)
		return w.FlushWith(raw)
	}
	size := HeaderSize + len(payload)
	if err := w.Reserve(size); err != nil {
		return err
	}
	old := len(w.Buf)
	w.Buf = w.Buf[:old+size]
	putHeader(w.Buf[old:], magic, t, payload)
	copy(w.Buf[old+HeaderSize:], payload)
	return nil
}
