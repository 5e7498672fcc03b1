package socks

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bip324proxy/internal/plain"
)

// UpstreamError reports a request to an upstream proxy that failed. It never contains
// credentials.
type UpstreamError struct {
	Op       Command   // CommandConnect or CommandResolve
	Dest     string    // "host:port", or a name
	Upstream string    // the proxy's address
	Stage    Stage     // StageDial: the proxy itself is unreachable
	Code     ReplyCode // the proxy's reply, unchanged; Succeeded if there was none

	// Err is the cause if there was no reply: the context's error, io.ErrUnexpectedEOF
	// if the proxy closed the connection, another error of the connection, or an error
	// in words.
	Err error
}

// Error returns what happened with which proxy and, if its settings are wrong, what to
// change.
func (e *UpstreamError) Error() string {
	if e.Stage == StageDial {
		return fmt.Sprintf("cannot reach the upstream proxy at %s: %s", e.Upstream, plain.Words(e.Err))
	}
	what := "connect to"
	if e.Op == CommandResolve {
		what = "resolve"
	}
	var why string
	switch {
	case e.Code != Succeeded:
		why = e.Code.String()
	case errors.Is(e.Err, context.Canceled):
		why = "canceled before it answered"
	case errors.Is(e.Err, context.DeadlineExceeded):
		why = "it did not answer in time"
	case e.Err == io.ErrUnexpectedEOF:
		why = "it closed the connection without a complete answer"
	default:
		why = plain.Words(e.Err)
	}
	return fmt.Sprintf("the upstream proxy at %s did not %s %s: %s", e.Upstream, what, e.Dest, why)
}

// Cause returns what is wrong with the proxy itself, in words, without its address.
func (e *UpstreamError) Cause() string { return plain.Words(e.Err) }

// Unwrap returns the cause.
func (e *UpstreamError) Unwrap() error { return e.Err }

// reply returns the reply for the client. It translates codes that clients misinterpret.
// A failure of the proxy itself says nothing about the destination: GeneralFailure.
func (e *UpstreamError) reply() ReplyCode {
	switch code := e.Code; {
	case code == Succeeded:
		if e.Stage == StageRequest && errors.Is(e.Err, context.DeadlineExceeded) {
			return TTLExpired // it is still trying
		}
		return GeneralFailure
	case code <= AddressTypeNotSupported:
		return code
	case code == OnionAuthMissing, code == OnionAuthWrong:
		// The service exists. HostUnreachable would deny that, and makes some clients
		// ask the system's resolver.
		return GeneralFailure
	case code >= OnionDescriptorNotFound && code <= OnionIntroTimedOut:
		return HostUnreachable
	}
	return GeneralFailure
}
