package socks

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bip324proxy/internal/plain"
)

// Cause says in words what went wrong with the proxy itself, without its address.
func (e *UpstreamError) Cause() string { return plain.Words(e.Err) }

// UpstreamError is a request that an upstream proxy did not grant. It never
// holds credentials.
type UpstreamError struct {
	Op       Command   // CommandConnect or CommandResolve
	Dest     string    // what was asked for: "host:port", or a name
	Upstream string    // the proxy's address
	Stage    Stage     // StageDial: the proxy itself could not be reached
	Code     ReplyCode // the proxy's reply, as it came; Succeeded if there was none

	// Err is the cause if there was no reply: the context's error,
	// io.ErrUnexpectedEOF if the proxy closed the connection, another error of the
	// connection, or in words what was wrong.
	Err error
}

// Error says what happened, with which proxy, and where its settings are to
// blame, what to change.
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
		why = "given up before it answered"
	case errors.Is(e.Err, context.DeadlineExceeded):
		why = "it did not answer in time"
	case e.Err == io.ErrUnexpectedEOF:
		why = "it closed the connection without a complete answer"
	default:
		why = plain.Words(e.Err)
	}
	return fmt.Sprintf("the upstream proxy at %s did not %s %s: %s", e.Upstream, what, e.Dest, why)
}

// Unwrap returns the cause.
func (e *UpstreamError) Unwrap() error { return e.Err }

// reply is what a client is told. Codes that it could misread are translated.
// What is wrong with the proxy itself says nothing of the destination: a general
// failure.
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
		// There is such a service. "Host unreachable" would deny it, and has some
		// clients go and ask the system's resolver.
		return GeneralFailure
	case code >= OnionDescriptorNotFound && code <= OnionIntroTimedOut:
		return HostUnreachable
	}
	return GeneralFailure
}
