package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"bip324proxy/internal/plain"
)

// Stage is a part of a negotiation.
type Stage string

// The stages, in order.
const (
	StageDial     Stage = "dial" // of an upstream proxy
	StageGreeting Stage = "greeting"
	StageAuth     Stage = "authentication"
	StageRequest  Stage = "request"
)

// NegotiationError is the error of Negotiate. It never contains credentials.
type NegotiationError struct {
	Stage Stage
	Reply ReplyCode // the reply to the request; Succeeded if there was none
	// Err is the cause: io.EOF if the client closed the connection without sending a
	// byte, io.ErrUnexpectedEOF if it closed it later, os.ErrDeadlineExceeded if it
	// timed out, another error of the connection, or an error in words.
	Err error
}

// Error returns what happened and, if the client's settings are wrong, what to change.
func (e *NegotiationError) Error() string {
	why := plain.Words(e.Err)
	timeout, ok := e.Err.(net.Error) // not errors.As: a wrapped one has another cause
	switch {
	case e.Err == io.EOF:
		why = "the client closed the connection without sending anything"
	case e.Err == io.ErrUnexpectedEOF:
		why = "the client closed the connection in the middle of it"
	case ok && timeout.Timeout():
		why = "the client did not complete it in time"
	}
	if e.Reply != Succeeded {
		why += fmt.Sprintf(" (answered: %v)", e.Reply)
	}
	return fmt.Sprintf("SOCKS %s: %s", e.Stage, why)
}

// Unwrap returns the cause.
func (e *NegotiationError) Unwrap() error { return e.Err }

// AddrError reports an invalid destination.
type AddrError struct {
	Addr string // the host, or "host:port", for display

	before, after string // what is wrong
}

func (e *AddrError) Error() string { return strings.TrimSpace(e.before + " " + e.Addr + e.after) }

// quoted returns an address of any content and length, for display.
func quoted(addr string) string {
	if len(addr) > maxField {
		return fmt.Sprintf("%.20q...", addr)
	}
	return strconv.Quote(addr)
}

// notSOCKS5 returns an error that says what a client speaks whose first byte is first.
func notSOCKS5(first byte) error {
	switch first {
	case 0x04:
		return errors.New("the client speaks SOCKS4: set the client to SOCKS5")
	case 'G', 'P', 'H', 'C', 'D', 'O': // GET, POST, HEAD, CONNECT, DELETE, OPTIONS
		return errors.New("the client speaks HTTP: this is a SOCKS5 proxy, not an HTTP proxy")
	case 0x16: // handshake record
		return errors.New("the client speaks TLS: set the client to SOCKS5 without TLS")
	}
	return fmt.Errorf("the client does not speak SOCKS5: its first byte is 0x%02x, not 0x05", first)
}

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
	why := e.Cause()
	switch {
	case e.Code != Succeeded:
	case errors.Is(e.Err, context.Canceled):
		why = "canceled before it answered"
	case errors.Is(e.Err, context.DeadlineExceeded):
		why = "it did not answer in time"
	case e.Err == io.ErrUnexpectedEOF:
		why = "it closed the connection without a complete answer"
	}
	return fmt.Sprintf("the upstream proxy at %s did not %s %s: %s", e.Upstream, what, e.Dest, why)
}

// Cause returns what is wrong with the proxy itself, or its reply, in words, without
// addresses.
func (e *UpstreamError) Cause() string {
	if e.Code != Succeeded {
		return e.Code.String()
	}
	return plain.Words(e.Err)
}

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
