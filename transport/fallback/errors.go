package fallback

import (
	"errors"
	"fmt"

	"bip324proxy/internal/plain"
)

var (
	// ErrKnownV1 is the Cause of a Link to a peer that is known to speak v1.
	ErrKnownV1 = errors.New("the peer is known to speak v1 only")

	// ErrRefusedV2 is the Cause of a Link to a peer that just hung up on a v2
	// handshake that the Dialer did not perform (see Dialer.NoteFailed).
	ErrRefusedV2 = errors.New("the peer has just hung up on a v2 handshake")

	// ErrNeedsProxy reports a name for which NeedsProxy is true, and a Dialer without a
	// proxy.
	ErrNeedsProxy = errors.New("Tor and I2P addresses cannot be reached without a proxy; set Dial to that of a SOCKS proxy")

	errNoOverlay = errors.New("its network does not encrypt")
)

// RedialError reports that v1 was allowed, but a second connection to the peer, for
// v1 or for another v2 handshake, failed.
type RedialError struct {
	Addr  string // "host:port"
	Err   error  // why the connection failed
	First error  // why the v2 handshake before it failed
}

func (e *RedialError) Error() string {
	return fmt.Sprintf("no second connection to %s: %s; the first: %v", e.Addr, plain.Words(e.Err), e.First)
}

// Unwrap returns both errors.
func (e *RedialError) Unwrap() []error { return []error{e.Err, e.First} }

// ProvenV2Error reports that v1 was ruled out because the peer is known to speak v2.
type ProvenV2Error struct {
	Err error // why the v2 handshake failed
}

func (e *ProvenV2Error) Error() string { return e.Err.Error() }
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
