package proxy

import (
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"

	"bip324proxy/transport/fallback"

	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// Each way to come to nothing has its kind, and is a warning only if the user should
// look.
func TestKindsAndLevels(t *testing.T) {
	silent := &transport.HandshakeError{Err: io.EOF}
	broken := &transport.HandshakeError{Received: 64, Err: transport.ErrNoTerminator}
	seen := map[string]bool{}
	for _, c := range []struct {
		err   error
		kind  string
		level slog.Level
	}{
		{&dialError{socks.HostUnreachable, io.EOF}, kindDial, slog.LevelInfo},
		{&dialError{socks.GeneralFailure, io.EOF}, kindDial, slog.LevelWarn}, // not the destination's fault
		{&dialError{socks.NotAllowed, &rules.DeniedError{}}, kindDenied, slog.LevelWarn},
		{&dialError{socks.GeneralFailure, &socks.UpstreamError{Stage: socks.StageDial, Err: io.EOF}}, kindUpstream, slog.LevelWarn},
		{&resolveError{socks.HostUnreachable, &socks.UpstreamError{Stage: socks.StageGreeting, Err: io.EOF}}, kindUpstream, slog.LevelWarn},
		{&dialError{socks.HostUnreachable, &socks.UpstreamError{Stage: socks.StageRequest, Code: socks.HostUnreachable}}, kindDial, slog.LevelInfo},
		{silent, kindSilent, slog.LevelInfo},
		{broken, kindHandshake, slog.LevelWarn},
		{&fallback.RedialError{Err: io.EOF, First: silent}, kindRedial, slog.LevelInfo},
		{&resolveError{socks.HostUnreachable, io.EOF}, kindResolve, slog.LevelInfo},
		{&resolveError{socks.HostUnreachable, errNotTor}, kindResolve, slog.LevelDebug},
		{&rules.DeniedError{}, kindDenied, slog.LevelWarn},
		{ErrNoEgress, kindNoEgress, slog.LevelInfo},
		{errOwnAddress, kindOwnAddress, slog.LevelWarn},
		{errOwnUpstream, kindOwnAddress, slog.LevelWarn},
		{errPassthroughDenied, kindPassthrough, slog.LevelWarn},
		{errPeerClosed, kindPeer, slog.LevelInfo},
		{errPeerFirst, kindPeer, slog.LevelWarn},
		{&socks.NegotiationError{Err: io.ErrUnexpectedEOF}, kindClient, slog.LevelWarn},
		{&v1v2.EndError{Side: v1v2.Client, Err: io.EOF}, kindClient, slog.LevelWarn},
		{&silentClientError{}, kindClient, slog.LevelWarn},
		{&NoDestinationError{}, kindClient, slog.LevelWarn},
		{&rules.ClientError{}, kindNotAllowed, slog.LevelWarn},
		{&socks.NegotiationError{Err: io.EOF}, kindClientLeft, slog.LevelDebug},
		{errClientLeft, kindClientLeft, slog.LevelDebug},
		{errTooManySessions, kindTooMany, slog.LevelDebug}, // which has a line of its own
		{errTooOften, kindTooOften, slog.LevelWarn},
		{errStopping, kindStopping, slog.LevelInfo},
		{errors.New("something else"), kindOther, slog.LevelWarn},
	} {
		kind := refusalKind(c.err)
		if level := level(kind, c.err); kind != c.kind || level != c.level {
			t.Errorf("%v: %s, %v; want %s, %v", c.err, kind, level, c.kind, c.level)
		}
		seen[kind] = true
	}
	for _, kind := range RefusalKinds {
		if !seen[kind] {
			t.Errorf("%s is not tested", kind)
		}
	}
	for _, kind := range slices.Concat(failuresOfPeers, faultsOfClients) {
		if !slices.Contains(RefusalKinds, kind) {
			t.Errorf("%s is no kind", kind)
		}
	}
}
