package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// relayStep is how many bytes a Relay hands to the kernel at a time, and so how
// far its counters may lag.
const relayStep = 256 << 10

// Relay copies bytes between two sockets, in the kernel where the system can.
// An end of stream on one side becomes one on the other, and the other
// direction goes on. It gives up when both directions have been idle.
type Relay struct {
	conns       [2]net.Conn
	idle        time.Duration
	active      [2]atomic.Bool // whether each side has sent something lately
	interrupted atomic.Bool
}

// NewRelay returns a Relay between a and b, which gives up after idle without
// a byte in either direction.
func NewRelay(a, b net.Conn, idle time.Duration) *Relay {
	return &Relay{conns: [2]net.Conn{a, b}, idle: idle}
}

// AToB copies from a to b until a's stream ends, and counts in n. At the end of
// the stream b is closed for writing and the error is nil.
func (r *Relay) AToB(n *atomic.Uint64) error { return r.copy(1, 0, n) }

// BToA is AToB the other way.
func (r *Relay) BToA(n *atomic.Uint64) error { return r.copy(0, 1, n) }

// Interrupt makes both directions fail with os.ErrDeadlineExceeded. Bytes that
// were read have been written.
func (r *Relay) Interrupt() {
	r.interrupted.Store(true)
	for _, c := range r.conns {
		c.SetReadDeadline(past)
	}
}

// Interrupted says whether Interrupt was called.
func (r *Relay) Interrupted() bool { return r.interrupted.Load() }

func (r *Relay) copy(to, from int, n *atomic.Uint64) error {
	dst, src := r.conns[to], r.conns[from]
	step := copyOnce // so that the first bytes are counted at once
	for {
		// A read that times out has lost nothing, but bytes in flight are lost
		// with a write that does. The two are told apart by the clock.
		now := time.Now()
		writeUntil := now.Add(2 * r.idle)
		src.SetReadDeadline(now.Add(r.idle))
		dst.SetWriteDeadline(writeUntil)
		if r.interrupted.Load() {
			src.SetReadDeadline(past)
		}
		k, err := step(dst, src)
		step = copyInKernel
		n.Add(uint64(k))
		r.active[from].Store(k > 0)
		switch {
		case err == nil:
		case err == io.EOF:
			r.active[from].Store(false)
			return CloseWrite(dst)
		case r.interrupted.Load() || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(writeUntil):
			return err
		case k == 0 && !r.active[to].Load():
			return err
		}
	}
}

func copyInKernel(dst, src net.Conn) (int64, error) { return io.CopyN(dst, src, relayStep) }

// copyOnce copies what a single small read returns.
func copyOnce(dst, src net.Conn) (int64, error) {
	var b [512]byte
	n, err := src.Read(b[:])
	if n > 0 {
		if _, err := dst.Write(b[:n]); err != nil {
			return 0, err
		}
	}
	return int64(n), err
}

// CloseWrite closes one direction of a socket, or all of it where the kind of
// socket has no halves.
func CloseWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
