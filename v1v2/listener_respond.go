package v1v2

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

// respond performs the handshake on nc, or finds that the peer speaks v1. On failure nc is
// closed.
func (l *Listener) respond(ctx context.Context, nc net.Conn) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(l.HandshakeTimeout, 30*time.Second))
	defer cancel()
	cfg := l.cfg
	socket := stream.NewSocket(nc) // whose reads ctx can end for good
	v1, err := Detect(ctx, socket, &cfg)
	switch {
	case err == nil && !v1:
		return Server(ctx, socket, cfg)
	case err == nil && !l.AllowV1:
		err = V1Refused(&cfg)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	c := newPlainConn(nc, cfg.Magic)
	c.plain = &replayed{Conn: nc, received: cfg.Received}
	return c, nil
}

// startSize is the size of what all v1 connections begin with: magic and type.
const startSize = 4 + len(VersionPrefix)

// Detect reads from nc, an accepted connection, until it is certain whether the peer speaks
// v1 on cfg's network, as a responder must before it sends anything. cfg.Received then has
// what was read, for transport.Server. ctx and cfg.FirstByteTimeout limit the wait; when ctx
// ends first, nc cannot be read any more. The error is a *transport.HandshakeError. Most
// programs do not need this: [Listener] calls it.
func Detect(ctx context.Context, nc net.Conn, cfg *transport.Config) (v1 bool, err error) {
	socket := stream.NewSocket(nc)
	stop := context.AfterFunc(ctx, socket.Abort)
	if cfg.FirstByteTimeout > 0 {
		socket.SetReadDeadline(time.Now().Add(cfg.FirstByteTimeout))
	}
	start := append(cfg.Magic[:len(cfg.Magic):len(cfg.Magic)], VersionPrefix...)
	received := make([]byte, 0, transport.MaxReceived)
	for err == nil && len(received) < startSize && bytes.HasPrefix(start, received) {
		var n int
		n, err = socket.Read(received[len(received):cap(received)])
		switch received = received[:len(received)+n]; {
		case n > 0:
			err = nil // if it stays, the next read returns it
			socket.SetReadDeadline(time.Time{})
		case err == nil:
			err = io.ErrNoProgress
		}
	}
	cfg.Received = received
	switch aborted := !stop(); {
	case aborted:
		err = context.Cause(ctx)
	case len(received) == 0 && errors.Is(err, os.ErrDeadlineExceeded):
		err = transport.ErrSilent
	}
	if err != nil {
		return false, undetected(cfg, err)
	}
	return bytes.HasPrefix(received, start), nil
}

// V1Refused returns the error about a peer that speaks v1 where it must not: it wraps
// transport.ErrV1Peer. cfg is as Detect left it.
func V1Refused(cfg *transport.Config) error { return undetected(cfg, transport.ErrV1Peer) }

// undetected returns err as an error of the handshake, of which the peer has begun to send
// its key at most.
func undetected(cfg *transport.Config, err error) error {
	first := bytes.Clone(cfg.Received[:min(len(cfg.Received), startSize)])
	return &transport.HandshakeError{Stage: transport.StageKey, Received: len(cfg.Received), First: first, Err: err}
}

// replayed is a connection of which the first bytes were read before.
type replayed struct {
	net.Conn
	received []byte
}

func (r *replayed) Read(p []byte) (n int, err error) {
	if len(r.received) == 0 {
		return r.Conn.Read(p)
	}
	n = copy(p, r.received)
	if r.received = r.received[n:]; len(r.received) == 0 {
		r.received = nil
	}
	return n, nil
}

// CloseWrite closes the direction to the peer.
func (r *replayed) CloseWrite() error { return stream.NewSocket(r.Conn).CloseWrite() }
