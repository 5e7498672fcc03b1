package proxy

import (
	"cmp"
	"time"
)

// The times of a session in the order of its story. Those that are not here belong to
// what the session is made of:
//
//	SOCKS negotiation            20 s         socks.Config.Timeout
//	looking up a name            20 s         fallback, lookupTimeout
//	connecting to its addresses   5 s         fallback.Dialer.DialTimeout
//	v2 handshake                 60 s         fallback.Dialer.HandshakeTimeout
//	an unknown peer's first byte  3 s         fallback.Dialer.FirstByteTimeout
//	a message of over 16 KiB     10 minutes   stream.BodyTimeout
const (
	// refuseTimeout is how long a client beyond the limit of sessions may take to read
	// that it is refused.
	refuseTimeout = 2 * time.Second

	// authTimeout is how long a client from elsewhere may take in all to give the
	// password and say where it wants to go.
	authTimeout = 5 * time.Second

	// rejectLinger is how long a client may take to read why its negotiation failed.
	rejectLinger = time.Second

	// resolveTimeout limits Tor's RESOLVE.
	resolveTimeout = 20 * time.Second

	// holdFor is how long the first bytes of a peer that speaks first are held. A client
	// that speaks v1 sends VERSION well within it.
	holdFor = 100 * time.Millisecond

	// stopTimeout is how long an interrupted session may take for its last message.
	stopTimeout = 2 * time.Second

	// closeTimeout is how long a closed session may take to end.
	closeTimeout = 500 * time.Millisecond
)

func (s *Server) firstBytesTimeout() time.Duration { return cmp.Or(s.FirstBytesTimeout, time.Minute) }
func (s *Server) idleTimeout() time.Duration       { return cmp.Or(s.IdleTimeout, 30*time.Minute) }
func (s *Server) ackTimeout() time.Duration        { return cmp.Or(s.AckTimeout, 3*time.Minute) }
func (s *Server) lingerTimeout() time.Duration     { return cmp.Or(s.LingerTimeout, 30*time.Second) }
