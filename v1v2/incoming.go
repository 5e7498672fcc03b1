package v1v2

import (
	"io"
	"net"

	"bip324proxy/internal/stream"
)

// incoming is the direction from the peer.
type incoming struct {
	turn turn
	head [HeaderSize]byte
	left [2][]byte // of the last message: the rest of its header and of its payload, or of both
	err  error     // of all further reads
}

// Read returns what the peer has sent, as v1. It waits for no more than one message. After
// os.ErrDeadlineExceeded the next Read goes on. All other errors are final: io.EOF if the
// peer's stream ended between messages, io.ErrUnexpectedEOF within one, a *LengthError for
// a message larger than v1 allows, and those of transport.Conn's ReadPacket.
func (c *Conn) Read(p []byte) (n int, err error) {
	if err := c.begin(&c.in.turn, &c.reads); err != nil {
		return 0, err
	}
	defer c.end(&c.in.turn)
	if err := c.await(&c.reads); err != nil {
		return 0, err
	}
	if c.plain != nil {
		n, err = c.plain.Read(p)
		return n, c.where(err)
	}
	for len(p) > 0 {
		if !c.in.any() {
			if n > 0 && !c.peer.PacketBuffered() {
				break
			}
			ok, err := c.next()
			if err != nil {
				if n > 0 {
					break // the next call returns the error
				}
				return 0, c.where(err)
			}
			if !ok {
				continue
			}
		}
		k := c.in.copy(p)
		if p, n = p[k:], n+k; !c.in.any() {
			c.peer.ReleasePacket()
		}
	}
	return n, nil
}

// any reports whether a message was not read to its end.
func (in *incoming) any() bool { return len(in.left[0])+len(in.left[1]) > 0 }

// copy reads from the last message.
func (in *incoming) copy(p []byte) (n int) {
	for i, left := range in.left {
		k := stream.Copy(p[n:], left)
		in.left[i] = left[k:]
		n += k
	}
	return n
}

// next receives the next message; ok is false if it was dropped.
func (c *Conn) next() (ok bool, err error) {
	m, ok, err := c.receive()
	if err != nil || !ok {
		return false, err
	}
	if m.raw != nil {
		putHeader(m.raw, c.magic, m.t, m.payload)
		c.in.left = [2][]byte{m.raw}
	} else {
		putHeader(c.in.head[:], c.magic, m.t, m.payload)
		c.in.left = [2][]byte{c.in.head[:], m.payload}
	}
	c.Received.Add(m.t, HeaderSize+len(m.payload))
	return true, nil
}

// received is a message from a peer that speaks v2.
type received struct {
	t       Type
	payload []byte
	raw     []byte // if it is large: room for the header, and the payload
}

// receive receives a message, which is valid until the next call; ok is false if it was
// dropped.
func (c *Conn) receive() (m received, ok bool, err error) {
	if c.in.err != nil {
		return m, false, c.in.err
	}
	contents, err := c.peer.ReadPacket()
	if err != nil {
		return m, false, err
	}
	t, payload, drop := decode(contents)
	switch {
	case drop != 0:
		c.Received.Drop(droppedContents(contents, drop))
		return m, false, nil
	case len(payload) > MaxPayload: // v1 forbids it
		c.in.err = &LengthError{Type: t, Length: uint32(len(payload))}
		return m, false, c.in.err
	case t == versionType:
		c.Received.NoteVersion(payload)
	}
	c.ids.note(contents[0])
	// The header takes the place of the id or long form, and needs more room.
	return received{t, payload, c.peer.LastPacket(HeaderSize - (len(contents) - len(payload)))}, true, nil
}

// WriteTo writes to dst what the peer sends until its stream ends, like io.Copy, which
// calls it. Messages that arrive together are written together, and none waits for the
// next.
//
// The error is an *EndError, which says on which side it occurred, or io.Copy's if the peer
// speaks v1. Messages that were received but not written are lost.
func (c *Conn) WriteTo(dst io.Writer) (n int64, err error) {
	if err := c.begin(&c.in.turn, &c.reads); err != nil {
		return 0, &EndError{PeerSide, err}
	}
	defer c.end(&c.in.turn)
	if err := c.await(&c.reads); err != nil {
		return 0, &EndError{PeerSide, err}
	}
	if c.plain != nil {
		n, err = io.Copy(dst, c.plain) // in the kernel, if it can
		return n, c.where(err)
	}
	out := writerTo(dst)
	if n, err = c.writeRest(out); err != nil {
		return n, &EndError{ClientSide, err}
	}
	got := batch{total: n}
	defer func() {
		c.Received.addBatch(&got)
		n = got.total // in every return
		c.peer.ReleasePacket()
	}()
	for {
		m, ok, err := c.receive()
		if err != nil {
			out.Flush()
			if err == io.EOF {
				return 0, nil
			}
			return 0, &EndError{PeerSide, c.where(err)}
		}
		if ok {
			if err := m.write(out, c.magic); err != nil {
				return 0, &EndError{ClientSide, err}
			}
			got.add(m.t, HeaderSize+len(m.payload))
		}
		if !c.peer.PacketBuffered() {
			c.Received.addBatch(&got)
			if err := out.Flush(); err != nil {
				return 0, &EndError{ClientSide, err}
			}
			if c.Brief {
				return 0, ErrBrief
			}
		}
	}
}

// writeRest writes the rest of a message that Read has returned in part.
func (c *Conn) writeRest(w *stream.Writer) (n int64, err error) {
	for i, left := range c.in.left {
		if len(left) == 0 {
			continue
		}
		c.in.left[i] = nil
		if _, err := w.Write(left); err != nil {
			return n, err
		}
		n += int64(len(left))
	}
	return n, w.Flush()
}

// write writes the message to w: a large one at once, from where it lies; a small one with
// the next flush.
func (m *received) write(w *stream.Writer, magic [4]byte) error {
	if m.raw != nil {
		putHeader(m.raw, magic, m.t, m.payload)
		return w.FlushWith(m.raw)
	}
	size := HeaderSize + len(m.payload)
	if err := w.Reserve(size); err != nil {
		return err
	}
	old := len(w.Buf)
	w.Buf = w.Buf[:old+size]
	putHeader(w.Buf[old:], magic, m.t, m.payload)
	copy(w.Buf[old+HeaderSize:], m.payload)
	return nil
}

// writerTo returns a Writer to dst, or dst if it is one, as the proxy's is.
func writerTo(dst io.Writer) *stream.Writer {
	switch w := dst.(type) {
	case *stream.Writer:
		return w
	case net.Conn:
		return stream.NewWriter(w)
	}
	return stream.NewWriter(onlyWriter{w: dst})
}

// onlyWriter is a writer where a connection is needed for writing alone.
type onlyWriter struct {
	net.Conn
	w io.Writer
}

func (o onlyWriter) Write(p []byte) (int, error) { return o.w.Write(p) }
