package hostile

import (
	"errors"
	"net"
)

// ErrCut is returned by a Wire that is cut.
var ErrCut = errors.New("cut")

// Wire is a connection that flips one bit of the data that passes through it, or cuts it. Offsets count from the first
// byte of one direction; a negative one is never reached.
type Wire struct {
	*net.TCPConn
	FlipWritten, FlipRead int64 // offset of the bit to flip
	CutWritten            int64 // number of bytes after which writes fail

	Written, Got int64 // bytes so far
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
	flip(b, w.FlipWritten-8*w.Written)
	n, err := w.TCPConn.Write(b)
	w.Written += int64(n)
	return n, err
}

func (w *Wire) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	flip(b[:n], w.FlipRead-8*w.Got)
	w.Got += int64(n)
	return n, err
}

func flip(b []byte, bit int64) {
	if bit >= 0 && bit < 8*int64(len(b)) {
		b[bit/8] ^= 1 << (bit % 8)
	}
}
