package proxy

import (
	"errors"
	"io"

	"bip324proxy/transport/fallback"

	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// RefusalKinds are all that Ended.Kind may be, and the keys of Snapshot.Refused:
// why sessions come to nothing.
var RefusalKinds = []string{
	kindDial, kindUpstream, kindSilent, kindHandshake, kindRedial, kindResolve, kindDenied, kindNoEgress, kindOwnAddress,
	kindPassthrough, kindPeer, kindClient, kindNotAllowed, kindClientLeft, kindTooMany, kindTooOften, kindStopping, kindOther,
}

const (
	kindDial        = "dial"         // the destination cannot be connected to
	kindUpstream    = "upstream"     // the upstream proxy cannot be reached or used
	kindSilent      = "no_v2_answer" // not one byte came back: v1 only, full, or cut off
	kindHandshake   = "handshake"    // something came back, but no good handshake
	kindRedial      = "second_dial"  // there was no second connection, for v2 again or v1
	kindResolve     = "resolve"
	kindDenied      = "denied"      // by the rules
	kindNoEgress    = "no_egress"   // .onion and .i2p without an upstream
	kindOwnAddress  = "own_address" // the proxy's
	kindPassthrough = "passthrough_denied"
	kindPeer        = "peer"               // spoke first, or hung up at once
	kindClient      = "client"             // what it said made no sense, or it said nothing
	kindNotAllowed  = "client_not_allowed" // its address is not in --clients
	kindClientLeft  = "client_left"        // before anything was settled
	kindTooMany     = "too_many_sessions"
	kindTooOften    = "client_rate"
	kindStopping    = "stopping"
	kindOther       = "other"
)

// refusalKind is why a session that did not open ended with err.
func refusalKind(err error) string {
	var negotiation *socks.NegotiationError
	var handshake *transport.HandshakeError
	var end *v1v2.EndError
	switch {
	case errors.Is(err, errStopping):
		return kindStopping
	case errors.Is(err, errTooManySessions), errors.Is(err, errMadeRoom):
		return kindTooMany
	case errors.Is(err, errTooOften), errors.Is(err, errTooManyWaiting):
		return kindTooOften
	case errors.As(err, new(*rules.ClientError)):
		return kindNotAllowed
	case errors.As(err, new(*rules.DeniedError)):
		return kindDenied
	case errors.Is(err, ErrNoEgress):
		return kindNoEgress
	case errors.Is(err, errOwnAddress), errors.Is(err, errOwnUpstream):
		return kindOwnAddress
	case isUpstreamDown(err):
		return kindUpstream
	case errors.As(err, new(*resolveError)):
		return kindResolve
	case errors.As(err, new(*dialError)):
		return kindDial
	case errors.Is(err, errPassthroughDenied):
		return kindPassthrough
	case errors.Is(err, errPeerFirst), errors.Is(err, errPeerClosed):
		return kindPeer
	case errors.Is(err, errClientLeft), errors.As(err, &negotiation) && negotiation.Err == io.EOF:
		return kindClientLeft
	case errors.As(err, &negotiation), errors.As(err, new(*NoDestinationError)), errors.As(err, new(*silentClientError)),
		errors.As(err, &end) && end.Side == v1v2.Client:
		return kindClient
	case errors.As(err, new(*fallback.RedialError)):
		return kindRedial
	case errors.As(err, &handshake) && handshake.Received == 0:
		return kindSilent
	case errors.As(err, &handshake):
		return kindHandshake
	}
	return kindOther
}
