package fallback

import (
	"fmt"

	"bip324proxy/internal/plain"
)

// RedialError says that v1 could have been spoken to a peer, but that another
// connection, for v1 or to try v2 once more before, could not be made.
type RedialError struct {
	Addr  string // "host:port"
	Err   error  // why there was none
	First error  // how the v2 handshake failed
}

func (e *RedialError) Error() string {
	return fmt.Sprintf("no second connection to %s: %s; the first: %v", e.Addr, plain.Words(e.Err), e.First)
}

// Unwrap returns both.
func (e *RedialError) Unwrap() []error { return []error{e.Err, e.First} }

// OverlayError says that a peer seems not to speak v2, and that v1 was not spoken to it
// because its network does not encrypt by itself.
type OverlayError struct {
	Err   error // why it does not count as one that does
	First error // how the v2 handshake failed
}

func (e *OverlayError) Error() string {
	return fmt.Sprintf("%v; v1 is not spoken: %v", e.First, e.Err)
}

// Unwrap returns both.
func (e *OverlayError) Unwrap() []error { return []error{e.Err, e.First} }
