package v1v2

import (
	"bytes"
	"io"
	"net"
	"sync"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

// outgoing is the direction to the peer.
type outgoing struct {
	mu    sync.Mutex
	spoke bool    // the first header was valid
	magic [4]byte // its
	head  [HeaderSize]byte
	have  int     // bytes of head that were written
	body  *[]byte // the payload, if it comes in pieces, with room for a packet around it
	got   int     // bytes of the payload in body
	id    [longSize]byte
	err   error // of all further writes
}

// room is how much of a body precedes the payload.
const room = transport.Headroom + longSize

// bodies holds the bodies that are not in use.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// Write sends the messages that p completes, a v1 stream with what was written before, and
// keeps what follows them. It returns how many bytes it has taken. After a deadline,
// writing goes on with those that it has not; a *MagicError, a *LengthError, ErrNotVersion
// and errors of the connection are final.
func (c *Conn) Write(p []byte) (n int, err error) {
	if err := c.enter(); err != nil {
		return 0, err
	}
	defer c.leave()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.writeAll(p)
}

func (c *Conn) writeAll(p []byte) (n int, err error) {
	for len(p) > 0 {
		if settled, err := c.settled(); err != nil {
			return n, err
		} else if settled && c.plain != nil {
			k, err := c.plain.Write(p)
			return n + k, c.where(err)
		}
		k, err := c.write(p)
		if p, n = p[k:], n+k; err != nil {
			c.flush()
			return n, c.where(err)
		}
	}
	return n, c.where(c.flush())
}

// write takes from p what belongs to one message, and sends that once it is complete. If it
// cannot be sent, nothing was taken.
func (c *Conn) write(p []byte) (n int, err error) {
	o := &c.out
	n = copy(o.head[o.have:], p)
	if o.have+n < HeaderSize {
		o.have += n
		return n, nil
	}
	h, err := c.header()
	if err != nil {
		return 0, err
	}
	size := int(h.length)
	payload := p[n:min(len(p), n+size-o.got)]
	if whole := o.got + len(payload); whole < size {
		o.keep(payload, size)
		o.have, o.got = HeaderSize, whole
		return n + len(payload), nil
	}
	n += len(payload)
	if o.got > 0 {
		payload = o.keep(payload, size)
	}
	if err := c.send(h, payload); err != nil {
		return 0, err
	}
	o.have, o.got = 0, 0
	o.release()
	return n, nil
}

// header parses the header in head.
func (c *Conn) header() (h header, err error) {
	o := &c.out
	if o.err != nil {
		return h, o.err
	}
	if settled, _ := c.settled(); settled {
		o.magic, o.spoke = c.magic, true
	} else if !o.spoke && string(o.head[4:4+len(VersionPrefix)]) == VersionPrefix {
		o.magic, o.spoke = [4]byte(o.head[:]), true
	}
	if o.spoke {
		h, o.err = parseHeader(o.head[:], o.magic)
	} else {
		o.err = ErrNotVersion
	}
	return h, o.err
}

// keep appends a piece to the payload in body, which will have size bytes, and returns that.
func (o *outgoing) keep(piece []byte, size int) (payload []byte) {
	if o.body == nil {
		o.body = bodies.Get().(*[]byte)
	}
	b := *o.body
	if whole := room + size + transport.Tailroom; cap(b) < whole {
		b = make([]byte, whole)
	} else {
		b = b[:whole]
	}
	*o.body = b
	payload = b[room : room+size]
	copy(payload[o.got:], piece)
	return payload
}

func (o *outgoing) release() {
	if o.body != nil {
		bodies.Put(o.body)
		o.body = nil
	}
}

// send sends a message with the next flush, or at once if it is large.
func (c *Conn) send(h header, payload []byte) error {
	if drop := h.drop(checksum(payload)); drop != 0 {
		c.Sent.Drop(Dropped{Reason: drop, Type: h.Type})
		return nil
	}
	if settled, err := c.settled(); err != nil {
		return err
	} else if !settled {
		return c.sendFirst(h.Type, payload)
	}
	o := &c.out
	id := o.id[h.Type.encode(o.id[:], longSize, &c.ids):]
	var err error
	if o.body != nil && len(payload) > stream.BatchSize {
		b := (*o.body)[room-len(id):]
		copy(b, id)
		err = c.peer.WriteInPlace((*o.body)[room-len(id)-transport.Headroom:])
	} else {
		err = c.peer.Queue(id, payload)
	}
	if err == nil {
		c.count(h.Type, payload)
	}
	return err
}

func (c *Conn) count(t Type, payload []byte) {
	if t == versionType {
		c.Sent.NoteVersion(payload)
	}
	c.Sent.Add(t, HeaderSize+len(payload))
}

// sendFirst begins to decide the protocol, and has the first message sent.
func (c *Conn) sendFirst(t Type, payload []byte) error {
	if !c.begin() {
		return errBegun
	}
	first := bytes.Clone(payload)
	go c.settle(c.out.magic, &firstMessage{t, first})
	return nil
}

// flush sends what is queued.
func (c *Conn) flush() error {
	if settled, err := c.settled(); err != nil || !settled || c.peer == nil {
		return err
	}
	return c.peer.Flush()
}

// ReadFrom sends what it reads from src, a v1 stream, until that ends, like io.Copy, which
// calls it. Messages that arrive together are sent together, and none waits for the next.
// src may be a *Reader. The error is an *EndError, which says whose it is.
func (c *Conn) ReadFrom(src io.Reader) (n int64, err error) {
	if err := c.enter(); err != nil {
		return 0, err
	}
	defer c.leave()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.have > 0 { // src goes on within a message
		return io.Copy(writerFunc(c.writeAll), src)
	}
	r := readerOf(src, c.out.magic)
	settled, err := c.settled()
	if err == nil && !settled {
		n, err = c.readFirst(r)
	}
	switch {
	case err == io.EOF:
		return n, nil
	case err != nil:
		return n, err
	case c.plain != nil:
		k, err := io.Copy(c.plain, r)
		return n + k, c.where(err)
	}
	r.magic = c.magic
	k, err := c.sendAll(r)
	return n + k, err
}

// readFirst reads messages of r up to the first one that is sent, and decides the protocol.
func (c *Conn) readFirst(r *Reader) (n int64, err error) {
	b, err := r.r.Peek(HeaderSize)
	copy(c.out.head[:], b)
	if err == nil {
		_, err = c.header()
	} else if len(b) > 0 {
		err = unexpected(err)
	}
	r.magic = c.out.magic
	for err == nil {
		m, ok, failed := r.Next()
		if err = failed; failed != nil {
			break
		}
		n += int64(len(m.Raw()))
		if ok {
			if err := c.sendFirst(m.Type, m.Payload()); err != nil {
				return n, err
			}
			_, err := c.settled()
			return n, err
		}
		c.Sent.Drop(m.Dropped())
	}
	return n, err
}

// sendAll sends the messages of r until its stream ends.
func (c *Conn) sendAll(r *Reader) (n int64, err error) {
	for {
		m, ok, err := r.Next()
		if err != nil {
			c.peer.Flush()
			if err == io.EOF {
				return n, nil
			}
			return n, &EndError{ClientSide, err}
		}
		size := len(m.Raw())
		n += int64(size)
		if ok {
			if m.Type == versionType {
				c.Sent.NoteVersion(m.Payload())
			}
			if err := m.send(c.peer, &c.ids); err != nil {
				return n, &EndError{PeerSide, c.where(err)}
			}
			c.Sent.Add(m.Type, size)
		} else {
			c.Sent.Drop(m.Dropped())
		}
		if !r.Buffered() {
			if err := c.peer.Flush(); err != nil {
				return n, &EndError{PeerSide, c.where(err)}
			}
		}
	}
}

// readerOf returns a Reader of src, or src if it is one.
func readerOf(src io.Reader, magic [4]byte) *Reader {
	if r, ok := src.(*Reader); ok {
		return r
	}
	return NewReader(src, magic)
}

// onlyReader is a reader where a connection is needed for reading alone.
type onlyReader struct {
	net.Conn
	r io.Reader
}

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p) }

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
