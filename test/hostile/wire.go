package hostile

import (
	"errors"
	"net"
)

// ErrCut says that a Wire passes nothing on any more.
var ErrCut = errors.New("cut")

// Wire is a connection that alters or cuts what passes through it. Offsets count the bytes of one direction from 0; a
// negative one is never reached.
type Wire struct {
	*net.TCPConn
	FlipWritten, FlipRead int64 // which byte has its lowest bit altered
	CutWritten            int64 // how many bytes are written; then writes fail

	Written, Got int64
}

// NewWire returns a Wire without a fault.
func NewWire(nc *net.TCPConn) *Wire {
	return &Wire{TCPConn: nc, FlipWritten: -1, FlipRead: -1, CutWritten: -1}
}

func (w *Wire) Write(b []byte) (int, error) {
	if left := w.CutWritten - w.Written; w.CutWritten >= 0 && int64(len(b)) > left {
		n, err := w.write(b[:left])
		return n, errors.Join(ErrCut, err)
	}
	return w.write(b)
}

func (w *Wire) write(b []byte) (int, error) {
	flip(b, w.FlipWritten-w.Written)
	n, err := w.TCPConn.Write(b)
	w.Written += int64(n)
	return n, err
}

func (w *Wire) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	flip(b[:n], w.FlipRead-w.Got)
	w.Got += int64(n)
	return n, err
}

func flip(b []byte, at int64) {
	if at >= 0 && at < int64(len(b)) {
		b[at] ^= 1
	}
}
