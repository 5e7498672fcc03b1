package fallback

import (
	"cmp"
	"context"
	"net"
	"time"

	"bip324proxy/internal/random"
	"bip324proxy/transport"
)

// A peer that hangs up on a v2 handshake without a byte need not be a v1 peer. btcd
// takes two v2 handshakes a second from each /24, hangs up on the rest like that, and
// serves v1. So v2 is tried once more, when such a rate limit has room again.

const (
	// retryAfter is the shortest delay before the second v2 handshake. Up to as much
	// is added at random, so that sessions refused together do not retry together.
	retryAfter = time.Second

	// retryWithin limits when the second handshake begins, counted from the start of
	// Upgrade: some clients give up 5 s after their connection was granted, and v1 must
	// still fit. If the first handshake took longer, the delay is cut short; the second
	// is not left out, for what follows is plaintext.
	retryWithin = 3500 * time.Millisecond
)

// hungUp reports whether the peer hung up on the handshake that failed with err, or
// just before on someone else's.
func hungUp(err error) bool {
	e, ok := err.(*transport.HandshakeError)
	return ok && e.HungUp() || err == ErrRefusedV2
}

// retry performs the second v2 handshake, on nc, a new connection to addr, after first,
// the error of the one before. The error is a *transport.HandshakeError of nc, a
// *RedialError, or the context's cause.
func (d *Dialer) retry(ctx context.Context, addr string, began time.Time, first error, cfg transport.Config) (conn *transport.Conn, nc net.Conn, err error) {
	delay := cmp.Or(d.RetryAfter, retryAfter+random.N(retryAfter))
	timer := time.NewTimer(min(delay, time.Until(began.Add(retryWithin))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	if nc, err = d.Connect(ctx, addr); err != nil {
		return nil, nil, &RedialError{Addr: addr, Err: err, First: first}
	}
	cfg.Received = nil // it was another connection's
	conn, err = d.handshakeOn(ctx, nc, cfg, false)
	return conn, nc, err
}
