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
	received, err := readStart(ctx, socket, &cfg)
	switch v1 := bytes.HasPrefix(received, v1Start(&cfg)); {
	case err == nil && !v1:
		cfg.Received = received
		return Server(ctx, socket, cfg)
	case err == nil && !l.AllowV1:
		err = transport.ErrV1Peer
	}
	if err != nil {
		nc.Close()
		first := bytes.Clone(received[:min(len(received), startSize)])
		return nil, &transport.HandshakeError{Stage: transport.StageKey, Received: len(received), First: first, Err: err}
	}
	c := newPlainConn(nc, cfg.Magic)
	c.plain = &replayed{Conn: nc, received: received}
	return c, nil
}

// startSize is the size of what all v1 connections begin with: magic and type.
const startSize = 4 + len(VersionPrefix)

// v1Start returns what v1 connections of the network begin with.
func v1Start(cfg *transport.Config) []byte {
	return append(cfg.Magic[:len(cfg.Magic):len(cfg.Magic)], VersionPrefix...)
}

// readStart reads from a connection until it is certain whether the peer speaks v1.
func readStart(ctx context.Context, nc *stream.Socket, cfg *transport.Config) (received []byte, err error) {
	stop := context.AfterFunc(ctx, nc.Abort)
	nc.SetReadDeadline(time.Now().Add(cfg.FirstByteTimeout))
	received = make([]byte, 0, transport.MaxReceived)
	for start := v1Start(cfg); err == nil && len(received) < startSize && bytes.HasPrefix(start, received); {
		var n int
		n, err = nc.Read(received[len(received):cap(received)])
		switch received = received[:len(received)+n]; {
		case n > 0:
			err = nil // if it stays, the next read returns it
			nc.SetReadDeadline(time.Time{})
		case err == nil:
			err = io.ErrNoProgress
		}
	}
	switch aborted := !stop(); {
	case aborted:
		err = context.Cause(ctx)
	case len(received) == 0 && errors.Is(err, os.ErrDeadlineExceeded):
		err = transport.ErrSilent
	}
	return received, err
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
