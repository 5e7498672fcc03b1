package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"bip324proxy/internal/stream"
)

// Conn is an established BIP324 connection. One goroutine may read while others write.
type Conn struct {
	socket    *stream.Socket
	sessionID [32]byte
	in        receiving
	out       sending
	unshaped  ShapeMode // without a shaper: ShapeOff or ShapeCore
}

// receiving is the direction from the peer.
type receiving struct {
	r       *stream.Reader
	ciphers *direction
	size    int         // of the next packet's contents; -1 before its length is known
	limit   int         // of contents; see LimitContents
	body    stream.Body // memory of the last packet, if it was large
	next    []byte      // contents that PacketBuffered has opened
	decoys  decoys
	err     error // of all further reads
}

// SessionID returns BIP324's session id. If it is the same at both ends, there is no
// man in the middle. Bitcoin Core shows it in getpeerinfo.
func (c *Conn) SessionID() [32]byte { return c.sessionID }

// NetConn returns the underlying connection. Using it breaks the session.
func (c *Conn) NetConn() net.Conn { return c.socket.NetConn() }

// ReadPacket returns the contents of the next packet that is not a decoy. They are
// valid until the next call and may be overwritten. At the end of the stream the error
// is io.EOF between packets and io.ErrUnexpectedEOF within one; a packet that was
// altered or is too large leads to ErrAuthentication or a *SizeError. Every error is
// final except os.ErrDeadlineExceeded: then the next call goes on where this one ended,
// also within a packet.
func (c *Conn) ReadPacket() ([]byte, error) {
	in := &c.in
	in.releaseLast()
	if contents := in.next; contents != nil {
		in.next = nil
		return contents, nil
	}
	for {
		contents, decoy, err := in.read()
		if err != nil {
			return nil, err
		}
		if !decoy {
			return contents, nil
		}
		c.receivedDecoy(contents)
		in.body.Release()
	}
}

// LimitContents makes packets with contents of more than n bytes, decoys too, end the
// connection with a *SizeError, before there is memory for them. Zero means MaxContents. Only
// the reading goroutine may call it. Most programs do not need this.
func (c *Conn) LimitContents(n int) { c.in.limit = n }

// LastPacket returns the last packet's contents preceded by n ≤ Spare writable bytes,
// or nil if the packet is small and shares a buffer. Only the reading goroutine may
// call it. Most programs do not need this.
func (c *Conn) LastPacket(n int) []byte {
	if c.in.body.Partial() {
		return nil
	}
	b := c.in.body.Bytes
	if b == nil {
		return nil
	}
	return b[Spare+headerSize-n : len(b)-Tailroom]
}

// ReleasePacket frees the last packet's memory before the next ReadPacket. Only the
// reading goroutine may call it. Most programs do not need this.
func (c *Conn) ReleasePacket() { c.in.releaseLast() }

// Release frees the memory of the last packet, and of one that has arrived in part, when
// ReadPacket will not be called again. Only the reading goroutine may call it. Most
// programs do not need this.
func (c *Conn) Release() {
	c.in.next = nil
	c.in.body.Release()
	c.in.r.Release()
}

// PacketBuffered reports whether ReadPacket would return without waiting for the
// socket. Only the reading goroutine may call it. Most programs do not need this.
func (c *Conn) PacketBuffered() bool {
	in := &c.in
	for in.next == nil && in.err == nil {
		if in.size < 0 && in.r.Buffered() < lengthSize {
			return false
		}
		if in.readLength() == nil && (in.r.Buffered() < in.rest() || in.rest() > in.r.Size()) {
			return false // a large packet needs body, which may be in use
		}
		switch contents, decoy, err := in.read(); {
		case err != nil:
		case decoy:
			c.receivedDecoy(contents) // which is in the reader's buffer: body may be in use
		default:
			in.next = contents
		}
	}
	return true
}

// Interrupt makes ReadPacket fail with os.ErrDeadlineExceeded when it would
// next wait for the socket, for good. CloseWrite, the one in progress, too, then does not wait
// for cells, see Shape. It is safe to call from any goroutine. Most programs do not need this.
func (c *Conn) Interrupt() {
	c.socket.Interrupt()
	c.out.hurry()
}

// Await waits until ReadPacket has something to read, or an error to return. It takes less stack
// than ReadPacket. Only the reading goroutine may call it. Most programs do not need this.
func (c *Conn) Await() {
	if c.in.next == nil {
		c.in.r.Await()
	}
}

// Extend moves Config.ReadTimeout on, as every read does: a wait that follows takes less stack. Only
// the reading goroutine may call it. Most programs do not need this.
func (c *Conn) Extend() { c.in.r.Extend() }

// releaseLast frees the last packet's memory, but not what has arrived of the next.
func (in *receiving) releaseLast() {
	if !in.body.Partial() {
		in.body.Release()
	}
}

// readLength sets size, unless it is known.
func (in *receiving) readLength() error {
	if in.size >= 0 {
		return nil
	}
	b, err := in.r.Peek(lengthSize)
	if err != nil {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case err == io.EOF && len(b) > 0:
			err = io.ErrUnexpectedEOF
		}
		in.err = err
		return err
	}
	size, err := in.ciphers.length.openLength(b)
	if err != nil {
		in.err = err
		return err
	}
	if in.limit > 0 && size > in.limit {
		in.err = &SizeError{Contents: size, Limit: in.limit}
		return in.err
	}
	in.r.Discard(lengthSize)
	in.size = size
	return nil
}

// rest returns the size of the next packet without its length.
func (in *receiving) rest() int { return packetSize(in.size) - lengthSize }

// read reads one packet and opens it in place: a small one in the reader's buffer, a
// large one in body.
func (in *receiving) read() (contents []byte, decoy bool, err error) {
	if in.err != nil {
		return nil, false, in.err
	}
	if err := in.readLength(); err != nil {
		return nil, false, err
	}
	var b []byte
	if n := in.rest(); n <= in.r.Size() {
		switch b, err = in.r.Peek(n); err {
		case nil:
			in.r.Discard(n) // leaves b as it is
		case io.EOF:
			err = io.ErrUnexpectedEOF
		}
	} else if err = in.r.ReadBody(&in.body, Spare, n, 0, nil); err == nil {
		b = in.body.Bytes[Spare:]
	}
	switch {
	case err == nil:
		contents, decoy, err = in.ciphers.open(b, nil)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, false, err
	}
	in.size, in.err = -1, err
	return contents, decoy, err
}

// WritePacket sends contents, at most MaxContents bytes, as one packet, in one write
// with what was queued before. After a *PendingError it counts as sent: the next call
// that writes sends the rest of it first. After another error that is
// os.ErrDeadlineExceeded it was not sent, nor was any part of it; if Config.WriteTimeout
// has passed, all later calls return ErrStalled. Every other error, except a *SizeError,
// is final.
func (c *Conn) WritePacket(contents []byte) error { return c.write(contents, false) }

// WriteDecoy is like WritePacket, but the peer ignores the packet.
func (c *Conn) WriteDecoy(contents []byte) error { return c.write(contents, true) }

func (c *Conn) write(contents []byte, decoy bool) error {
	c.out.lock()
	defer c.out.unlock()
	if err := c.out.queue(decoy, contents); err != nil {
		return err
	}
	return c.out.flush()
}

// Queue is like WritePacket, but the packet is sent with the next Flush, WritePacket
// or WriteInPlace, or when 16 KiB are queued, and 64 KiB after these. The contents are all parts together. A
// packet of over 16 KiB is copied and sent at once; WriteInPlace does not copy. After an
// error, os.ErrDeadlineExceeded, too, the packet was not queued, nor was any part of it
// sent; otherwise it will be sent, and Flush reports a deadline that has passed
// meanwhile. Most programs do not need this.
func (c *Conn) Queue(parts ...[]byte) error {
	c.out.lock()
	defer c.out.unlock()
	return c.out.queue(false, parts...)
}

// Flush sends what was queued, in one write. After a *PendingError the next call that
// writes sends the rest first. Most programs do not need this.
func (c *Conn) Flush() error {
	c.out.lock()
	defer c.out.unlock()
	return c.out.flush()
}

// WriteInPlace sends the contents in b between Headroom and Tailroom spare bytes
// without copying them: b becomes the packet. With a Shape a packet that shares a write or a
// cell is copied, and b is left as it was. What was queued is sent first. Its errors
// are WritePacket's; after one that is not a *PendingError b may be sent again only if
// it is os.ErrDeadlineExceeded. It panics if b is too short. Most programs do not need
// this.
func (c *Conn) WriteInPlace(b []byte) error {
	contents := b[Headroom : len(b)-Tailroom]
	if len(contents) > MaxContents {
		return &SizeError{Contents: len(contents)}
	}
	c.out.lock()
	defer c.out.unlock()
	if c.out.shaped() {
		return c.out.shaper.writeInPlace(b)
	}
	if err := c.out.w.Ready(); err != nil {
		return err
	}
	return c.out.pending(c.out.w.Send(c.out.ciphers.seal(b[:0], contents, nil, false)))
}

// CloseWrite sends what was queued and closes the direction to the peer. What waits for
// cells, see Shape, leaves in cells for half a minute, or until Interrupt, and then at once.
// After a *PendingError it has not closed the direction, and can be called again.
func (c *Conn) CloseWrite() error {
	if err := c.out.drain(); err != nil {
		return err
	}
	return c.socket.CloseWrite()
}

// SetDeadline sets the deadlines of reads and writes; see SetReadDeadline and
// SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline makes ReadPacket fail with os.ErrDeadlineExceeded at t, the call in
// progress, too. Zero means never. Config.ReadTimeout applies as well: the earlier
// counts. It is safe to call from any goroutine.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.socket.LimitReads(t) }

// SetWriteDeadline is like SetReadDeadline, for writes and Config.WriteTimeout. It ends no
// connection: see WritePacket. Cells, see Shape, leave after it, too.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.socket.LimitWrites(t) }

// Close closes the connection at once, in both directions, and drops what waits for cells,
// see Shape. It frees the memory of a packet that has arrived in part, but not that of the
// last packet, which may be in use.
func (c *Conn) Close() error {
	defer c.in.body.Abandon()
	c.out.stop()
	return c.socket.Close()
}

// Wipe zeroes the connection's keys. Nothing may read or write any more. A connection with a
// Shape must be closed before.
func (c *Conn) Wipe() {
	c.in.ciphers.wipe()
	c.out.wipe()
	scrubStack()
}
