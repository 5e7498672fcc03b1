package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"time"

	"bip324proxy/internal/stream"
)

// Client performs the handshake as the initiator on nc, a new connection. The context
// limits the handshake, not the connection. On failure nc is closed, and the error is a
// *HandshakeError unless cfg is invalid.
func Client(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return newConn(ctx, nc, cfg, true)
}

// Server performs the handshake as the responder on nc, a new connection; it is
// otherwise like Client. If the peer speaks v1, the error wraps ErrV1Peer and nothing
// was sent. The peer's first bytes have been read, though: a node that serves v1 on the
// same port must look at them first, and pass them in Config.Received.
func Server(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return newConn(ctx, nc, cfg, false)
}

func newConn(ctx context.Context, nc net.Conn, cfg Config, initiator bool) (*Conn, error) {
	var h *Handshake
	var err error
	create := func() { h, err = NewHandshake(cfg, initiator) }
	if !initiator {
		create() // computes nothing yet
	} else if late := cfg.inTurn(ctx, create); late != nil {
		err = &HandshakeError{Stage: StageKey, Err: late}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	socket := stream.NewSocket(nc)
	r := stream.NewReader(socket)
	if len(cfg.Received) > 0 {
		r.Unread(cfg.Received)
	}
	if err := drive(ctx, h, socket, r); err != nil {
		h.Wipe()
		nc.Close()
		return nil, err
	}
	w := stream.NewWriter(socket)
	r.SetMemory((*stream.Memory)(cfg.Memory))
	r.Reclaim()
	r.SetIdle(cfg.ReadTimeout)
	w.SetStall(cfg.WriteTimeout)
	w.Reclaim((*stream.Memory)(cfg.Memory))
	session := h.Session()
	c := &Conn{
		socket:    socket,
		sessionID: session.id,
		in:        receiving{r: r, ciphers: session.in, size: -1},
		out:       sending{w: w, ciphers: session.out},
	}
	c.startShape(h)
	return c, nil
}

// drive performs the handshake h on nc, of which r reads. It leaves nc without a
// deadline. The error is a *HandshakeError.
func drive(ctx context.Context, h *Handshake, nc *stream.Socket, r *stream.Reader) error {
	stop := context.AfterFunc(ctx, nc.Abort)
	sent, err := exchange(ctx, h, nc, r)
	aborted := !stop()
	if err == nil && !aborted {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	received := h.Received()
	first := h.theirs[:min(received, v1PrefixSize)]
	if received == 0 { // the peer may have answered all the same
		received = r.Buffered()
		first, _ = r.Peek(min(received, v1PrefixSize))
	}
	return &HandshakeError{Stage: h.Stage(), Sent: sent, Received: received, Err: err, First: bytes.Clone(first)}
}

// lastWords is how long the peer's answer is awaited when sending has failed.
const lastWords = 100 * time.Millisecond

// exchange sends and receives until h is done, and returns how many bytes were sent.
func exchange(ctx context.Context, h *Handshake, nc *stream.Socket, r *stream.Reader) (sent int, err error) {
	write := func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		n, err := nc.Write(b)
		sent += n
		if err != nil { // the peer may have answered before it hung up
			nc.SetReadDeadline(time.Now().Add(lastWords))
			r.Peek(r.Buffered() + 1)
		}
		return err
	}
	err = write(h.Start())
	first := h.holdFirst()
	r.Expect()
	if d := h.cfg.FirstByteTimeout; err == nil && d > 0 {
		err = awaitFirstByte(nc, r, d)
	}
	for err == nil && h.Stage() < StageDone {
		r.Expect() // up to 4 KiB of garbage
		_, ended := r.Peek(1)
		if first.timedOut(ended) {
			err = write(first.release(nc))
			continue
		}
		if ended != nil {
			return sent, ended
		}
		in, _ := r.Peek(r.Buffered())
		var n int
		var send []byte
		receive := func() { n, send, err = h.Receive(in) }
		if h.Stage() > StageKey {
			receive()
		} else if late := h.cfg.inTurn(ctx, receive); late != nil {
			return sent, late
		}
		r.Discard(n)
		if err == nil {
			err = write(first.split(send, nc))
		}
	}
	if err == nil {
		err = first.wait(ctx)
	}
	if err == nil {
		err = write(first.release(nc))
	}
	return sent, err
}

// inTurn calls f while it holds the semaphore. The error is the context's cause if
// that ends before.
func (c *Config) inTurn(ctx context.Context, f func()) error {
	if c.Semaphore != nil {
		select {
		case c.Semaphore <- struct{}{}:
			defer func() { <-c.Semaphore }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	f()
	return nil
}

// awaitFirstByte waits for the peer's first byte, for at most d.
func awaitFirstByte(nc *stream.Socket, r *stream.Reader, d time.Duration) error {
	until := time.Now().Add(d)
	nc.SetReadDeadline(until)
	_, err := r.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) && !nc.Interrupted() && !time.Now().Before(until) {
		return ErrSilent
	}
	nc.SetReadDeadline(time.Time{})
	return err
}
