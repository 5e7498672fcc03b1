package v1v2

import (
	"fmt"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

// Side is one side of a session.
type Side string

// The two sides.
const (
	Client Side = "client"
	Peer   Side = "peer"
)

// EndError is why a loop ended: with io.EOF, the side closed its stream between
// messages; with anything else, something is wrong with the side's stream or
// what came through it.
type EndError struct {
	Side Side
	Err  error
}

func (e *EndError) Error() string { return fmt.Sprintf("%s: %v", e.Side, e.Err) }

func (e *EndError) Unwrap() error { return e.Err }

// ToPeer translates what the client says until the client's stream ends or
// either side fails; the error is an *EndError. Messages that arrive together
// leave together, and none waits for the next. ids is what ToClient records of the peer.
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

// ToClient translates what the peer says until the peer's stream ends or either
// side fails; the error is an *EndError. It batches like ToPeer, and records in ids
// which ids the peer uses.
func ToClient(peer *transport.Conn, client *stream.Writer, magic [4]byte, ids *PeerIDs, counts *Counts) error {
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
		case len(payload) > MaxPayload: // no v1 header can say so
			return &EndError{Peer, &LengthError{Type: t, Length: uint32(len(payload))}}
		default:
			if t == versionType {
				counts.NoteVersion(payload)
			}
			ids.note(contents[0])
			// The id makes room for some of the header.
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

// write puts a message into w: a large one, which lies in raw behind the room for
// its header, from there and at once; a small one, without raw, into what is
// gathered for the next flush.
func write(w *stream.Writer, raw []byte, magic [4]byte, t Type, payload []byte) error {
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
