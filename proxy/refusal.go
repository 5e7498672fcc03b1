package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/plain"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// The kinds of refusals of clients' sessions: the values of Outcome.Kind, and the keys of
// Snapshot.Refused.
const (
	KindDial              = "dial"         // the destination cannot be connected to
	KindUpstream          = "upstream"     // the upstream proxy cannot be reached or used
	KindNoV2Answer        = "no_v2_answer" // not one byte came back: v1 only, full, or cut off
	KindHandshake         = "handshake"    // something came back, but no valid handshake
	KindSecondDial        = "second_dial"  // the second connection, for v2 again or for v1, failed
	KindBind              = "bind"         // the source address or interface of connections is missing
	KindResolve           = "resolve"
	KindDenied            = "denied"         // by the rules
	KindNoEgress          = "no_egress"      // .onion and .i2p without an upstream
	KindOwnAddress        = "own_address"    // the destination or the upstream is the proxy
	KindNotRedirected     = "not_redirected" // to the transparent listener that it came to
	KindRedirectLoop      = "redirect_loop"  // the proxy's own connection was redirected to it
	KindPassthroughDenied = "passthrough_denied"
	KindPeer              = "peer"               // spoke first, or hung up at once
	KindClient            = "client"             // said nothing, or nothing valid
	KindClientNotAllowed  = "client_not_allowed" // its address is not admitted
	KindClientLeft        = "client_left"        // before the session was open
	KindTooManySessions   = "too_many_sessions"
	KindClientRate        = "client_rate"
	KindStopping          = "stopping"
	KindOther             = "other"
)

// refusal is a row of the table of refusals: a cause of a session's end.
type refusal struct {
	kind    string           // what the page and the metrics count it as
	is      func(error) bool // recognises it
	level   slog.Level       // of the line in the log: a warning if the user should look
	by      culprit
	routine bool                                   // it is counted, and not listed
	words   func(err error, network string) string // plain.Words if nil
}

// culprit is who caused a refusal. Repeated lines about what peers and remote clients cause
// are folded; what a local client causes is logged each time: whoever sets it up wants to
// see it.
type culprit int

const (
	noCulprit  culprit = iota
	peerCaused         // or the network
	clientCaused
)

// refusals has every cause of the end of a client's session; the first row that recognises an error
// counts. A new cause is a row here. A new kind also needs its words in
// status/page/words.js and docs/status.md, which tests demand, and may have advice in
// internal/hints.
var refusals = []refusal{
	{is: func(err error) bool { return err == nil }, words: func(error, string) string { return "both sides closed the connection" }},
	{is: isOneOf(errNotTor, errProbe, errOnlyLooked), level: slog.LevelDebug}, // a question that was answered
	{kind: KindStopping, is: isOneOf(errStopping)},
	{kind: KindTooManySessions, is: isOneOf(ErrTooManySessions, errMadeRoom), level: slog.LevelDebug, routine: true}, // folded elsewhere
	{kind: KindClientRate, is: isOneOf(errTooOften, errTooManyWaiting), level: slog.LevelWarn},
	{kind: KindClientNotAllowed, is: when(func(e *rules.ClientError) bool { return e.Own }), by: clientCaused, routine: true}, // check, most likely
	{kind: KindClientNotAllowed, is: isA[*rules.ClientError], by: clientCaused, level: slog.LevelWarn},
	{kind: KindDenied, is: isA[*rules.DeniedError], by: clientCaused, level: slog.LevelWarn},
	{kind: KindNoEgress, is: isOneOf(ErrNoEgress), by: peerCaused},
	{kind: KindOwnAddress, is: isOneOf(errOwnAddress, errOwnUpstream), by: clientCaused, level: slog.LevelWarn},
	{kind: KindNotRedirected, is: isOneOf(errNotRedirected), by: clientCaused, level: slog.LevelWarn},
	{kind: KindRedirectLoop, is: isOneOf(errRedirectLoop), by: peerCaused, level: slog.LevelWarn},
	{kind: KindUpstream, is: when(isUpstreamDown), by: peerCaused, level: slog.LevelWarn},
	{kind: KindResolve, is: isOneOf(errForgottenName), by: clientCaused},
	{kind: KindResolve, is: when((*requestError).resolves), by: peerCaused},
	{kind: KindBind, is: isA[*BindError], by: peerCaused, level: slog.LevelWarn},
	{kind: KindDial, is: when((*requestError).isLocal), by: peerCaused, level: slog.LevelWarn},
	{kind: KindDial, is: isA[*requestError], by: peerCaused}, // most addresses that a node hears of are dead, full or old
	{kind: KindPassthroughDenied, is: isOneOf(errPassthroughDenied), by: clientCaused, level: slog.LevelWarn},
	{kind: KindPeer, is: isOneOf(errPeerFirst), by: peerCaused, level: slog.LevelWarn},
	{kind: KindPeer, is: isOneOf(ErrPeerClosed), by: peerCaused},
	{kind: KindClientLeft, is: isOneOf(errClientLeft), level: slog.LevelDebug, routine: true},
	{kind: KindClientLeft, is: when(func(e *socks.NegotiationError) bool { return e.Err == io.EOF }), level: slog.LevelDebug, routine: true}, // it looked whether the port is open
	{kind: KindClient, is: isA[*socks.NegotiationError], by: clientCaused, level: slog.LevelWarn},
	{kind: KindClient, is: isA[*socks.AddrError], by: clientCaused, level: slog.LevelWarn}, // of a transparent listener
	{kind: KindClient, is: isA[*NoDestinationError], by: clientCaused, level: slog.LevelWarn},
	{kind: KindClient, is: isA[*silentClientError], by: clientCaused, level: slog.LevelWarn},
	{kind: KindClient, is: when(func(e *v1v2.EndError) bool { return e.Side == v1v2.ClientSide }), by: clientCaused, level: slog.LevelWarn, words: endWords},
	{kind: KindSecondDial, is: isA[*fallback.RedialError], by: peerCaused, words: redialWords},
	{kind: KindNoV2Answer, is: when(func(e *transport.HandshakeError) bool { return e.Received == 0 }), by: peerCaused, words: handshakeWords},
	{kind: KindHandshake, is: isOneOf(transport.ErrV1Peer), by: peerCaused, words: handshakeWords}, // an old node
	{kind: KindHandshake, is: isA[*transport.HandshakeError], by: peerCaused, level: slog.LevelWarn, words: handshakeWords},
	{kind: KindOther, is: isA[*v1v2.EndError], level: slog.LevelWarn, words: endWords},
	{kind: KindOther, is: isOneOf(errno.ETIMEDOUT), level: slog.LevelWarn, words: func(error, string) string { return fmt.Sprintf(vanished, "client or the peer") }},
	{kind: KindOther, is: isTimeout, level: slog.LevelWarn, words: func(error, string) string { return "nothing was sent or received for too long" }},
	{kind: KindOther, is: func(error) bool { return true }, level: slog.LevelWarn},
}

// RefusalKinds are all kinds of refusals of clients' sessions.
var RefusalKinds = kindsOf(refusals)

func kindsOf(rows []refusal) (kinds []string) {
	for _, row := range rows {
		if row.kind != "" && !slices.Contains(kinds, row.kind) {
			kinds = append(kinds, row.kind)
		}
	}
	return kinds
}

// refusalOf returns the row of the table that recognises err.
func refusalOf(err error) *refusal { return rowOf(refusals, err) }

func rowOf(rows []refusal, err error) *refusal {
	return &rows[slices.IndexFunc(rows, func(r refusal) bool { return r.is(err) })]
}

// explain returns err in words; network is the client's.
func (r *refusal) explain(err error, network string) string {
	if r.words != nil {
		return r.words(err, network)
	}
	return plain.Words(err)
}

// Explain returns the kind of refusal that err, of a Dialer, is in a session, and err
// in words; network is the client's.
func Explain(err error, network string) (kind, reason string) {
	why := refusalOf(err)
	return why.kind, why.explain(err, network)
}

// plainError is an error without addresses, which a redacted log shows as it is.
type plainError string

func (e plainError) Error() string { return string(e) }

// ErrNoEgress reports a destination that needs an upstream proxy where there is none.
var ErrNoEgress error = plainError("Tor and I2P addresses cannot be reached without an upstream proxy")

// ErrPeerClosed reports a peer that hung up before anything was said.
var ErrPeerClosed error = plainError("the peer closed the connection before anything was said")

// The causes of a session's end that no other package has an error for.
const (
	// errPeerFirst reports a peer whose first bytes have gone to a client that then spoke
	// v1. To go on as a passthrough would send the client's VERSION in plaintext.
	errPeerFirst = plainError("the peer sent data before the client's VERSION")

	errNotTor            = plainError("0.0.0.0 is not a name; the client asks for it to learn whether this is Tor, and it is not")
	errProbe             = plainError("192.0.2.1 and 2001:db8::1 belong to nobody; the client, such as bip324-proxy check, asks for one to learn who answers")
	errOwnAddress        = plainError("the destination is the proxy itself")
	errOwnUpstream       = plainError("the upstream proxy is the proxy itself")
	errClientLeft        = plainError("the client closed the connection before the session was open")
	errPassthroughDenied = plainError("the client does not speak v1, and passthrough is denied")
	errStopping          = plainError("the proxy is stopping")
)

// clientLeftError reports a client that left during the v2 handshake. If that was slow, the
// client's patience was the timeout.
type clientLeftError struct{ after time.Duration }

func (e *clientLeftError) Error() string {
	return fmt.Sprintf("the client gave up after %.0f s", e.after.Seconds())
}

// Timeout and Temporary implement net.Error.
func (e *clientLeftError) Timeout() bool   { return true }
func (e *clientLeftError) Temporary() bool { return false }

// silentClientError reports a client that, once its connection was granted, did not say
// enough to tell what it speaks.
type silentClientError struct {
	said int // bytes
}

func (e *silentClientError) Error() string {
	if e.said == 0 {
		return "the client said nothing after its connection was granted"
	}
	return fmt.Sprintf("the client said only %d bytes after its connection was granted, too few to tell what it speaks", e.said)
}

// requestError reports a destination that could not be connected to, or a name that could
// not be resolved.
type requestError struct {
	command socks.Command
	code    socks.ReplyCode // what the client was told
	err     error
}

func (e *requestError) Error() string {
	verb := "connect"
	if e.resolves() {
		verb = "resolve"
	}
	words := plain.Words(e.err)
	if strings.HasSuffix(strings.Replace(words, "host is", "host", 1), e.code.String()) { // not twice
		return fmt.Sprintf("cannot %s: %s", verb, words)
	}
	return fmt.Sprintf("cannot %s (the client was told: %v): %s", verb, e.code, words)
}

func (e *requestError) Unwrap() error  { return e.err }
func (e *requestError) resolves() bool { return e.command == socks.CommandResolve }

// isLocal reports whether the cause is not the destination, but this machine, the rules or
// the upstream proxy.
func (e *requestError) isLocal() bool {
	return e.code == socks.GeneralFailure || e.code == socks.NotAllowed
}

// isOneOf returns a function that reports whether an error is one of targets.
func isOneOf(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
}

// isA reports whether an error is a T.
func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// when returns a function that reports whether an error is a T for which cond is true.
func when[T error](cond func(T) bool) func(error) bool {
	return func(err error) bool {
		var target T
		return errors.As(err, &target) && cond(target)
	}
}

// isUpstreamDown reports whether the upstream proxy itself could not be reached or used,
// whatever the destination was.
func isUpstreamDown(e *socks.UpstreamError) bool {
	return e.Stage != socks.StageRequest && !errors.Is(e, context.Canceled)
}
