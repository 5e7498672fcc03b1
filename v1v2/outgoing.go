package v1v2

import (
	"bytes"
	"context"
	"errors"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

// outgoing is the direction to the peer.
type outgoing struct {
	turn  turn
	magic [4]byte // of the first VERSION
	spoke bool    // it is set
	head  [HeaderSize]byte
	have  int     // bytes of head that were written
	body  *[]byte // the payload, if it comes in pieces, with room for a packet around it
	got   int     // bytes of the payload in body
	sum   payloadSum
	id    [longSize]byte
	rest  []byte // to be sent first to a peer that speaks v1
	err   error  // of all further writes
}

// Write takes p, which goes on where the last Write ended, and sends the messages that it
// completes. It returns how many bytes it has taken; it need not be given these again.
//
// After os.ErrDeadlineExceeded the next Write goes on: what was taken and could not be sent
// goes first, even if p is empty. All other errors are final: ErrNotVersion, *MagicError
// and *LengthError, which are the user's, and those of the connection. Once
// transport.Config.WriteTimeout has passed the next Write returns transport.ErrStalled.
func (c *Conn) Write(p []byte) (n int, err error) {
	if err := c.begin(&c.out.turn, &c.writes); err != nil {
		return 0, err
	}
	defer c.end(&c.out.turn)
	if c.out.err != nil {
		return 0, c.out.err
	}
	for {
		settled, err := c.settled()
		switch {
		case err != nil:
			return n, err
		case settled && c.plain != nil:
			k, err := c.writePlain(p[n:])
			return n + k, c.where(err)
		case n == len(p) && settled:
			return n, c.where(c.peer.Flush())
		case n == len(p):
			return n, nil
		}
		k, err := c.write(p[n:], settled)
		n += k
		if err != nil {
			if err == errBegun {
				continue // the protocol is being decided by Handshake
			}
			if settled {
				c.peer.Flush() // what was taken before; err says more
			}
			return n, c.where(err)
		}
	}
}

// writePlain writes p as it is, after what was taken before.
func (c *Conn) writePlain(p []byte) (n int, err error) {
	o := &c.out
	if o.have > 0 { // written before the protocol was decided
		o.rest = append(o.rest, o.head[:o.have]...)
		if o.got > 0 {
			o.rest = append(o.rest, (*o.body)[room:room+o.got]...)
		}
		o.reset()
	}
	if len(o.rest) > 0 {
		n, err := c.plain.Write(o.rest)
		if o.rest = o.rest[n:]; err != nil {
			return 0, err
		}
	}
	o.rest = nil
	if len(p) == 0 {
		return 0, nil
	}
	return c.plain.Write(p)
}

// write takes from p what belongs to one message, and sends that once it is complete. If it
// cannot be sent, nothing was taken.
func (c *Conn) write(p []byte, settled bool) (n int, err error) {
	o := &c.out
	n = copy(o.head[o.have:], p)
	if o.have+n < HeaderSize {
		o.have += n
		return n, nil
	}
	h, err := c.header(settled)
	if err != nil {
		return 0, err
	}
	size := int(h.length)
	payload := p[n:min(len(p), n+size-o.got)]
	n += len(payload)
	if o.got+len(payload) < size {
		o.have = HeaderSize
		o.keep(payload, size)
		o.got += len(payload)
		return n, nil
	}
	inBody := o.got > 0 || size > stream.BatchSize
	if inBody {
		payload = o.keep(payload, size)
	}
	if err := c.send(h, payload, inBody, settled); err != nil {
		o.sum.spoil() // the user may write something else
		if o.got == 0 {
			o.release()
		}
		return 0, err
	}
	o.reset()
	return n, nil
}

// header parses the header in head.
func (c *Conn) header(settled bool) (h header, err error) {
	o := &c.out
	var magic [4]byte
	if settled {
		magic = c.magic
	} else {
		if string(o.head[4:4+len(VersionPrefix)]) != VersionPrefix {
			o.err = ErrNotVersion
			return h, o.err
		}
		if !o.spoke {
			o.magic, o.spoke = [4]byte(o.head[:]), true
		}
		magic = o.magic
	}
	h, o.err = parseHeader(o.head[:], magic)
	return h, o.err
}

// room is how much of a body precedes the payload.
const room = transport.Headroom + longSize

// keep puts a piece behind the payload in body, which will have size bytes, and returns
// that. It hashes a large one as it copies, while it is in the CPU's cache.
func (o *outgoing) keep(piece []byte, size int) (payload []byte) {
	if len(piece) == 0 && o.got == 0 {
		return nil // the payload may come in one piece
	}
	if o.body == nil {
		whole := room + size + transport.Tailroom
		o.body = stream.HeapBody(whole)
		*o.body = (*o.body)[:whole]
		o.sum.reset()
	}
	payload = (*o.body)[room : room+size]
	if size <= stream.BatchSize {
		copy(payload[o.got:], piece)
		return payload
	}
	for to := payload[o.got:]; len(piece) > 0; {
		k := copy(to, piece[:min(len(piece), 64<<10)])
		o.sum.add(to[:k])
		to, piece = to[k:], piece[k:]
	}
	return payload
}

// reset makes o ready for the next message.
func (o *outgoing) reset() {
	o.have, o.got = 0, 0
	o.release()
}

func (o *outgoing) release() {
	if o.body != nil {
		stream.PutHeapBody(o.body)
		o.body = nil
	}
}

// send sends a message with the next flush, or at once if it is large. inBody reports
// whether the payload is in body.
func (c *Conn) send(h header, payload []byte, inBody, settled bool) error {
	if drop := h.drop(c.out.sum.of(payload)); drop != 0 {
		c.Sent.Drop(Dropped{Reason: drop, Type: h.Type})
		return nil
	}
	if !settled {
		return c.sendFirst(h.Type, payload)
	}
	c.noteVersion(h.Type, payload)
	o := &c.out
	id := o.id[h.Type.encode(o.id[:], longSize, &c.ids):]
	var err error
	if inBody && len(payload) > stream.BatchSize {
		b := (*o.body)[room-len(id)-transport.Headroom:]
		copy(b[transport.Headroom:], id)
		err = taken(c.peer.WriteInPlace(b))
	} else {
		err = c.peer.Queue(id, payload)
	}
	if err == nil {
		c.Sent.Add(h.Type, HeaderSize+len(payload))
	}
	return err
}

// taken returns err, or nil if it means that the packet will be sent: Flush says the same.
func taken(err error) error {
	if _, pending := errors.AsType[*transport.PendingError](err); pending {
		return nil
	}
	return err
}

// noteVersion records the user agent of a VERSION message that is sent.
func (c *Conn) noteVersion(t Type, payload []byte) {
	if t == versionType {
		c.Sent.NoteVersion(payload)
	}
}

// sendFirst begins to decide the protocol, and has the first message sent. The error is
// errBegun.
func (c *Conn) sendFirst(t Type, payload []byte) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	if !c.begun(cancel) {
		return errBegun
	}
	first := &firstMessage{t, bytes.Clone(payload)}
	c.use.Add(2)
	go func() {
		defer c.leave()
		c.settle(ctx, c.out.magic, first, func() error { return nil })
	}()
	return nil
}
