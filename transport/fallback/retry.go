package fallback

import (
	"cmp"
	"context"
	"crypto/rand"
	"math/big"
	"net"
	"time"

	"bip324proxy/transport"
)

// A peer that hangs up on a v2 handshake without a byte need not be a v1 peer. btcd
// limits the rate of v2 handshakes (two a second for each /24) and hangs up like that on
// those beyond it; v1 it serves. So v2 is tried once more before v1, after a moment in
// which such a limit has room again.

const (
	// retryAfter is the shortest time before the second v2 handshake; up to as much is
	// added at random, so that sessions that were refused together do not come back
	// together.
	retryAfter = time.Second

	// retryWithin is how long after Upgrade began the second handshake begins at the
	// latest. Some clients give up 5 s after their connection was granted, and v1 must
	// still fit. Where the first handshake took so long that it would not, the wait is
	// cut short; the second handshake is not left out, for what follows is plaintext.
	retryWithin = 3500 * time.Millisecond
)

// isHungUp reports whether the peer hung up on the handshake that failed with err, or
// just before on somebody else's.
func isHungUp(err error) bool {
	e, ok := err.(*transport.HandshakeError)
	return ok && e.HungUp() || err == ErrRefusedV2
}

// retry performs the second v2 handshake, on a new connection to addr, when first, the
// one before, has failed. The error is a *HandshakeError of nc, a *RedialError, or the
// context's cause.
func (d *Dialer) retry(ctx context.Context, addr string, began time.Time, first error, cfg transport.Config) (conn *transport.Conn, nc net.Conn, err error) {
	more, err := rand.Int(rand.Reader, big.NewInt(int64(retryAfter)))
	if err != nil {
		return nil, nil, err
	}
	wait := cmp.Or(d.RetryAfter, retryAfter+time.Duration(more.Int64()))
	timer := time.NewTimer(min(wait, time.Until(began.Add(retryWithin))))
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
	conn, err = d.client(ctx, nc, cfg, false)
	return conn, nc, err
}
