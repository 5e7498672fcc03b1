package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// relayStep is how many bytes the kernel copies at a time: counters may lag by so much.
const relayStep = 1 << 20

// Relay copies bytes between two sockets, in the kernel where the system can. It passes
// on the end of a stream, and the other direction goes on. It times out when nothing
// moves in either direction, or when one side does not take what the other sends.
type Relay struct {
	sockets [2]*Socket
	idle    time.Duration
	began   time.Time
	moved   atomic.Int64           // when bytes last moved, since began
	first   atomic.Pointer[Socket] // whose stream ended first
}

// NewRelay returns a Relay between a and b, which times out after idle, or up to a
// quarter more, without a byte.
func NewRelay(a, b *Socket, idle time.Duration) *Relay {
	return &Relay{sockets: [2]*Socket{a, b}, idle: idle, began: time.Now()}
}

// AToB copies from a to b until a's stream ends, and counts in n. The error is nil at the
// end of the stream, which it passes on to b.
func (r *Relay) AToB(n *atomic.Uint64) error { return r.copy(r.sockets[1], r.sockets[0], n, func() {}) }

// BToA is AToB the other way. It calls begun once b has sent something, even if a does not
// take it.
func (r *Relay) BToA(n *atomic.Uint64, begun func()) error {
	return r.copy(r.sockets[0], r.sockets[1], n, begun)
}

// EndedFirst reports whether the stream of s has ended, and before the other's.
func (r *Relay) EndedFirst(s *Socket) bool { return r.first.Load() == s }

func (r *Relay) copy(dst, src *Socket, n *atomic.Uint64, begun func()) error {
	step := func(dst, src net.Conn) (int64, error) { return copyOnce(dst, src, begun) }
	for {
		// A read that times out loses nothing, a write that times out loses bytes. The
		// clock tells them apart.
		now := time.Now()
		writeUntil := now.Add(r.idle)
		dst.SetWriteDeadline(writeUntil)
		src.SetReadDeadline(now.Add(r.idle / 8))
		k, err := step(dst.Conn, src.Conn)
		now = time.Now()
		if k > 0 {
			step = copyInKernel
			n.Add(uint64(k))
			r.moved.Store(int64(now.Sub(r.began)))
		}
		switch {
		case err == nil:
		case err == io.EOF:
			r.first.CompareAndSwap(nil, src) // before dst can answer
			dst.CloseWrite()                 // if it fails, so does the other direction
			return nil
		case src.Interrupted() || !errors.Is(err, os.ErrDeadlineExceeded) || !now.Before(writeUntil):
			return err
		case now.Sub(r.began)-time.Duration(r.moved.Load()) >= r.idle+r.idle/8: // the other direction may lag by a read
			return err
		}
	}
}

func copyInKernel(dst, src net.Conn) (int64, error) { return io.CopyN(dst, src, relayStep) }

// copyOnce copies what a single small read returns, so that the first bytes are counted
// at once. It calls begun between the read and the write.
func copyOnce(dst, src net.Conn, begun func()) (int64, error) {
	var b [512]byte
	n, err := src.Read(b[:])
	if n == 0 {
		return 0, err
	}
	begun()
	n, failed := dst.Write(b[:n])
	if failed != nil {
		err = failed
	}
	return int64(n), err
}
