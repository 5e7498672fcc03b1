package fallback

import (
	"errors"
	"fmt"

	"bip324proxy/internal/plain"
	"bip324proxy/transport"
)

var (
	// ErrKnownV1 is the Cause of a Link to a peer that is known to speak v1.
	ErrKnownV1 = errors.New("the peer is known to speak v1 only")

	// ErrRefusedV2 is the Cause of a Link to a peer that just hung up on a v2
	// handshake that the Dialer did not perform (see Dialer.NoteFailed).
	ErrRefusedV2 = errors.New("the peer has just hung up on a v2 handshake")

	// ErrNeedsProxy reports a name for which NeedsProxy is true, and a Dialer without a
	// proxy.
	ErrNeedsProxy = errors.New("addresses of Tor and I2P cannot be reached without a proxy; set Dial to that of a SOCKS proxy")

	errNoOverlay = errors.New("its network does not encrypt")
)

// withAddr returns err, of a handshake with the peer at addr, with the address before it
// and what may help after it.
func withAddr(addr string, err error) error {
	var e *transport.HandshakeError
	if errors.As(err, &e) && e.Stage == transport.StageGarbage && (e.TimedOut() || e.HungUp()) { // each side waits for a terminator that the other does not send
		return fmt.Errorf("%s: %w; the peer may be on another network", addr, err)
	}
	return fmt.Errorf("%s: %w", addr, err)
}

// dialAddr is an address that was asked for, as in errors of net.Dialer.
type dialAddr struct{ network, addr string }

func (a dialAddr) Network() string { return a.network }
func (a dialAddr) String() string  { return a.addr }

// RedialError reports that v1 was allowed, but a second connection to the peer, for
// v1 or for another v2 handshake, failed.
type RedialError struct {
	Addr  string // "host:port"
	Err   error  // why the connection failed
	First error  // why the v2 handshake before it failed
}

func (e *RedialError) Error() string {
	return fmt.Sprintf("%v; a second connection failed: %s", e.First, plain.Words(e.Err))
}

// Unwrap returns both errors.
func (e *RedialError) Unwrap() []error { return []error{e.Err, e.First} }

// ProvenV2Error reports that v1 was ruled out because the peer is known to speak v2.
type ProvenV2Error struct {
	Err error // why the v2 handshake failed
}

func (e *ProvenV2Error) Error() string {
	return e.Err.Error() + "; v1 is not spoken to a peer that is known to speak v2"
}

func (e *ProvenV2Error) Unwrap() error { return e.Err }

// OverlayError reports that a peer seems to speak v1 only, and that Overlay forbids
// v1 because the peer's network does not encrypt.
type OverlayError struct {
	Err   error // why the network does not count as encrypted
	First error // why the v2 handshake failed
}

func (e *OverlayError) Error() string {
	return fmt.Sprintf("%v; v1 is not spoken: %v", e.First, e.Err)
}

// Unwrap returns both errors.
func (e *OverlayError) Unwrap() []error { return []error{e.Err, e.First} }
