package v1v2

import (
	"errors"
	"io"
	"net"
)

// ReadFrom sends what it reads from src, a v1 stream, until that ends, like io.Copy, which
// calls it. Messages that arrive together are sent together, and none waits for the next.
// src may be a *Reader.
//
// The error is an *EndError, which says on which side it occurred, or io.Copy's if the peer
// speaks v1. Messages that were read from src but not sent are lost.
func (c *Conn) ReadFrom(src io.Reader) (n int64, err error) {
	if err := c.enter(); err != nil {
		return 0, &EndError{PeerSide, err}
	}
	defer c.leave()
	r, given := src.(*Reader)
	if !given {
		r = NewReader(src, [4]byte{})
		defer r.Release()
	}
	n, err = c.sendBegun(r)
	switch {
	case err == io.EOF:
		return n, nil
	case err != nil:
		return n, err
	}
	if c.plain == nil {
		r.magic = c.magic
		k, err := c.sendAll(r)
		return n + k, err
	}
	if given || r.r.Buffered() > 0 {
		src = r
	}
	k, err := io.Copy(c.plain, src) // in the kernel, if it can
	return n + k, c.where(err)
}

// sendBegun sends what r begins with up to the end of the message that was begun, and up to
// the first one that decides the protocol. At the end of r in between it returns io.EOF.
func (c *Conn) sendBegun(r *Reader) (n int64, err error) {
	var buf []byte
	for {
		lacks, err := c.lacks()
		if err != nil {
			return n, &EndError{faultOf(err), err}
		}
		if lacks == 0 {
			return n, nil
		}
		if buf == nil {
			buf = make([]byte, 4<<10)
		}
		k, err := io.ReadFull(r, buf[:min(lacks, len(buf))])
		switch {
		case err == io.EOF && lacks == HeaderSize:
			return n, io.EOF
		case err != nil:
			return n, &EndError{ClientSide, unexpected(err)}
		}
		k, err = c.Write(buf[:k])
		if n += int64(k); err != nil {
			return n, &EndError{faultOf(err), err}
		}
	}
}

// lacks returns how many bytes must be written before messages can be sent, or those of a
// v1 stream. If none it sends what a deadline has left.
func (c *Conn) lacks() (n int, err error) {
	if err := c.lock(&c.out.turn, &c.writes); err != nil {
		return 0, err
	}
	defer c.out.turn.pass()
	o := &c.out
	if o.err != nil {
		return 0, o.err
	}
	settled, err := c.settled()
	switch {
	case err != nil:
		return 0, err
	case settled && c.plain != nil:
		_, err := c.writePlain(nil)
		return 0, c.where(err)
	case settled && o.have == 0:
		return 0, c.where(c.peer.Flush())
	case o.have < HeaderSize:
		return HeaderSize - o.have, nil
	}
	h, err := c.header(settled)
	return int(h.length) - o.got, err
}

// faultOf returns whose an error of Write is.
func faultOf(err error) Side {
	var magic *MagicError
	var length *LengthError
	if errors.Is(err, ErrNotVersion) || errors.As(err, &magic) || errors.As(err, &length) {
		return ClientSide
	}
	return PeerSide
}

// sendAll sends the messages of r until its stream ends. It has the turn only while it does
// not wait for r.
func (c *Conn) sendAll(r *Reader) (n int64, err error) {
	hasTurn := false
	var sent batch
	defer func() {
		c.Sent.addBatch(&sent)
		n = sent.total // in every return
		if hasTurn {
			c.out.turn.pass()
		}
	}()
	for {
		m, ok, err := r.Next()
		if err != nil && hasTurn {
			c.peer.Flush()
		}
		switch {
		case err == io.EOF:
			return 0, nil
		case err != nil:
			return 0, &EndError{ClientSide, err}
		}
		if !hasTurn {
			if err := c.lock(&c.out.turn, &c.writes); err != nil {
				return 0, &EndError{PeerSide, err}
			}
			hasTurn = true
			if err := c.out.err; err != nil {
				return 0, &EndError{faultOf(err), err}
			}
		}
		size := len(m.Raw())
		if ok {
			c.noteVersion(m.Type, m.Payload())
			if err := taken(m.send(c.peer, &c.ids)); err != nil {
				return 0, &EndError{PeerSide, c.where(err)}
			}
			sent.add(m.Type, size)
		} else {
			c.Sent.Drop(m.Dropped())
			sent.total += int64(size)
		}
		if !r.Buffered() {
			c.Sent.addBatch(&sent)
			if err := c.peer.Flush(); err != nil {
				return 0, &EndError{PeerSide, c.where(err)}
			}
			c.out.turn.pass()
			hasTurn = false
			if c.Brief {
				r.ReleaseLast()
				return 0, ErrBrief
			}
		}
	}
}

// onlyReader is a reader where a connection is needed for reading alone.
type onlyReader struct {
	net.Conn
	r io.Reader
}

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p) }
