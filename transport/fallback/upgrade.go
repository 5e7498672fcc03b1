package fallback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"bip324proxy/transport"
)

// Link is a connection with its protocol decided: V2, or V1, on which nothing has
// been sent. If the peer of V1 answers in v1, call Dialer.NoteV1; hanging up does not
// prove v1, since a full node does that, too. When a session in V2 ends, call
// Dialer.NoteV2.
type Link struct {
	V2 *transport.Conn
	V1 net.Conn

	// Overlay reports that the network under V1 encrypts (Dialer.Overlay).
	Overlay bool

	// Cause is why V1 was chosen: the v2 handshake that failed last, which wraps
	// ErrRefusedV2 if that replaced the first; transport.ErrV1Peer; or ErrKnownV1.
	Cause error
}

// Upgrade performs the v2 handshake as the initiator on nc, a new connection to addr.
// Only if the peer turns out not to speak v2, and Mode allows v1, does Upgrade connect
// once more, to the same address, for v1. Most programs do not need this: DialContext
// calls it.
//
//	what happened                                          fall back?
//	addr, or an address of it, proven v2 before            no
//	a v1 VERSION header of the network received            yes
//	any other byte received, any fault in it               no
//	our deadline for the whole handshake, our own stop     no
//	fewer than 24 bytes sent                               no
//	hung up, not one byte received                         yes, if a second v2 handshake fails, too
//	silent past FirstByteTimeout, peer never seen          yes
//
// A peer that hung up may only be busy, so v2 is tried once more on a new connection
// after RetryAfter; the table then applies again, without another retry.
//
// Where v1 is allowed, an address known to speak v1 is not tried in v2, unless what it
// has sent by then rules out v1; one that has just hung up on a client's own handshake
// (see NoteFailed) is tried after RetryAfter. A peer that has sent a VERSION header before
// the handshake is not dialled again.
//
// If addr is a name with several addresses, v2 is tried with up to four of them first
// (see Resolve), beginning with those proven v2.
//
// On failure nc is closed. The error is a *transport.HandshakeError, a *RedialError, an
// *OverlayError, each in a *ProvenV2Error if the peer is known to speak v2, or the
// context's cause.
func (d *Dialer) Upgrade(ctx context.Context, nc net.Conn, addr string, cfg transport.Config) (link Link, err error) {
	began := time.Now()
	others, proven := d.otherAddresses(ctx, addr, nc)
	conns := []net.Conn{nc}
	defer func() {
		if err == nil {
			return
		}
		for _, c := range conns {
			c.Close()
		}
		if errors.As(err, new(*transport.HandshakeError)) && (proven || d.provenV2(addr, conns...)) {
			err = &ProvenV2Error{err}
		}
	}()
	var known error // why v2 is not tried on nc
	var overlay bool
	mayV1 := !proven && d.MayFallBack(addr, nc)
	if mayV1 {
		if known = d.knownV1(addr, nc, &cfg); known != nil {
			var why error
			if overlay, why = d.inOverlay(ctx, addr, nc); why != nil {
				known = nil // v1 is not possible, so v2 is tried
			}
		}
		cfg.FirstByteTimeout = d.SilentAfter()
	}
	conn, err := d.tryAddresses(ctx, nc, known, others, cfg)
	if err == ErrKnownV1 { // the peer may have spoken meanwhile
		if known = d.knownV1(addr, nc, &cfg); known == nil {
			conn, err = d.handshakeOn(ctx, nc, cfg, false)
		}
	}
	switch {
	case err == nil:
		if known != nil {
			nc.Close()
		}
		d.NoteV2(addr, conn.NetConn())
		return Link{V2: conn}, nil
	case known != nil && ctx.Err() != nil:
		return Link{}, context.Cause(ctx)
	case !mayV1 || !looksV1(err) || !d.MayFallBack(addr, nc): // it may have been proven v2 meanwhile
		return Link{}, err
	case known == nil:
		var why error
		if overlay, why = d.inOverlay(ctx, addr, nc); why != nil {
			return Link{}, &OverlayError{Err: why, First: err}
		}
	case known != ErrRefusedV2:
		return Link{V1: nc, Overlay: overlay, Cause: known}, nil
	}
	nc.Close()
	same := cmp.Or(d.reached(nc), addr) // not another address of the name: those have failed
	if hungUp(err) {
		conn, retried, second := d.retry(ctx, same, began, err, cfg)
		if retried != nil {
			conns = append(conns, retried)
		}
		if second == nil {
			d.NoteV2(addr, conn.NetConn())
			return Link{V2: conn}, nil
		}
		if !looksV1(second) || !d.MayFallBack(addr, conns...) {
			return Link{}, second
		}
		if err == ErrRefusedV2 {
			second = fmt.Errorf("%w; then: %w", err, second)
		}
		err = second
	}
	v1, dialErr := d.Connect(ctx, same)
	if dialErr != nil {
		return Link{}, &RedialError{Addr: addr, Err: dialErr, First: err}
	}
	conns = append(conns, v1)
	if !d.MayFallBack(addr, nc, v1) { // proven v2 while v1 was dialled, or v1 reached a peer that is
		return Link{}, err
	}
	return Link{V1: v1, Overlay: overlay, Cause: err}, nil
}

// inOverlay reports whether the network of nc, a connection to addr, encrypts. The error
// is not nil if it must and does not: why, so that v1 is not spoken.
func (d *Dialer) inOverlay(ctx context.Context, addr string, nc net.Conn) (bool, error) {
	err := errNoOverlay
	if host, _, splitErr := net.SplitHostPort(addr); splitErr == nil && d.Overlay != nil {
		err = d.Overlay(ctx, host, nc.RemoteAddr())
	}
	if d.Mode == Overlay {
		return err == nil, err
	}
	return err == nil, nil
}

// looksV1 reports whether err, of a v2 handshake that failed or was not tried, is what
// a v1 peer causes.
func looksV1(err error) bool {
	if e, ok := err.(*transport.HandshakeError); ok { // and not one wrapped in a *RedialError
		return e.LooksV1()
	}
	return err == ErrKnownV1 || err == ErrRefusedV2 || err == transport.ErrV1Peer
}

const (
	// maxAddresses is how many of a name's addresses are connected to.
	maxAddresses = 4

	// tryNextWithin is how long after the first attempt another may begin: most
	// clients have given up by then.
	tryNextWithin = 10 * time.Second
)

// tryAddresses performs the v2 handshake on nc, unless known says why not, and then with
// others, which are addresses of the same name, until one succeeds. If none does, the
// error is nc's, or known; but if that looks like v1, the first that does not, since one
// v2 address rules out v1 for the name.
func (d *Dialer) tryAddresses(ctx context.Context, nc net.Conn, known error, others []string, cfg transport.Config) (conn *transport.Conn, failed error) {
	began := time.Now()
	if failed = known; known == nil {
		conn, failed = d.handshakeOn(ctx, nc, cfg, len(others) > 0)
	}
	cfg.Received = nil // it was nc's
	left := maxAddresses - 1
	for i, other := range others {
		if failed == nil || ctx.Err() != nil || left == 0 || time.Since(began) > tryNextWithin {
			break
		}
		nc, err := d.Connect(ctx, other)
		if err != nil { // its family may have no route
			continue
		}
		left--
		if conn, err = d.handshakeOn(ctx, nc, cfg, left > 0 && i < len(others)-1); err == nil {
			return conn, nil
		}
		if looksV1(failed) && !looksV1(err) {
			failed = err
		}
	}
	return conn, failed
}

// handshakeOn performs one v2 handshake. With more addresses to try, a silent peer is
// given up sooner.
func (d *Dialer) handshakeOn(ctx context.Context, nc net.Conn, cfg transport.Config, more bool) (*transport.Conn, error) {
	if more {
		cfg.FirstByteTimeout = cmp.Or(cfg.FirstByteTimeout, d.SilentAfter())
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.HandshakeTimeout, time.Minute))
	defer cancel()
	return transport.Client(ctx, nc, cfg)
}
