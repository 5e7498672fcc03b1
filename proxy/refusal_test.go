package proxy

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// Each kind of refusal has its classification, and is a warning only if the user should act.
func TestKindsAndLevels(t *testing.T) {
	silent := &transport.HandshakeError{Err: io.EOF}
	broken := &transport.HandshakeError{Received: 64, Err: transport.ErrNoTerminator}
	seen := map[string]bool{}
	for _, c := range []struct {
		err   error
		kind  string
		level slog.Level
	}{
		{&requestError{socks.CommandConnect, socks.HostUnreachable, io.EOF}, KindDial, slog.LevelInfo},
		{&requestError{socks.CommandConnect, socks.GeneralFailure, io.EOF}, KindDial, slog.LevelWarn}, // not the destination's fault
		{&requestError{socks.CommandConnect, socks.NotAllowed, &rules.DeniedError{}}, KindDenied, slog.LevelWarn},
		{&requestError{socks.CommandConnect, socks.GeneralFailure, &socks.UpstreamError{Stage: socks.StageDial, Err: io.EOF}}, KindUpstream, slog.LevelWarn},
		{&requestError{socks.CommandResolve, socks.HostUnreachable, &socks.UpstreamError{Stage: socks.StageGreeting, Err: io.EOF}}, KindUpstream, slog.LevelWarn},
		{&requestError{socks.CommandConnect, socks.HostUnreachable, &socks.UpstreamError{Stage: socks.StageRequest, Code: socks.HostUnreachable}}, KindDial, slog.LevelInfo},
		{&requestError{socks.CommandConnect, socks.GeneralFailure, &net.OpError{Op: "dial", Err: &BindError{Interface: "wg0", Err: errInterfaceDown}}}, KindBind, slog.LevelWarn},
		{&requestError{socks.CommandConnect, socks.NetworkUnreachable, ErrBindFamily}, KindDial, slog.LevelInfo}, // as is any IPv6 peer
		{silent, KindNoV2Answer, slog.LevelInfo},
		{broken, KindHandshake, slog.LevelWarn},
		{&fallback.RedialError{Err: io.EOF, First: silent}, KindSecondDial, slog.LevelInfo},
		{&requestError{socks.CommandResolve, socks.HostUnreachable, io.EOF}, KindResolve, slog.LevelInfo},
		{&requestError{socks.CommandResolve, socks.HostUnreachable, errNotTor}, "", slog.LevelDebug}, // not a failure
		{&rules.DeniedError{}, KindDenied, slog.LevelWarn},
		{ErrNoEgress, KindNoEgress, slog.LevelInfo},
		{errOwnAddress, KindOwnAddress, slog.LevelWarn},
		{errOwnUpstream, KindOwnAddress, slog.LevelWarn},
		{errNotRedirected, KindNotRedirected, slog.LevelWarn},
		{errRedirectLoop, KindRedirectLoop, slog.LevelWarn},
		{errPassthroughDenied, KindPassthroughDenied, slog.LevelWarn},
		{ErrPeerClosed, KindPeer, slog.LevelInfo},
		{errPeerFirst, KindPeer, slog.LevelWarn},
		{&socks.NegotiationError{Err: io.ErrUnexpectedEOF}, KindClient, slog.LevelWarn},
		{&v1v2.EndError{Side: v1v2.ClientSide, Err: io.EOF}, KindClient, slog.LevelWarn},
		{&silentClientError{}, KindClient, slog.LevelWarn},
		{&NoDestinationError{}, KindClient, slog.LevelWarn},
		{&rules.ClientError{}, KindClientNotAllowed, slog.LevelWarn},
		{&socks.NegotiationError{Err: io.EOF}, KindClientLeft, slog.LevelDebug},
		{errClientLeft, KindClientLeft, slog.LevelDebug},
		{ErrTooManySessions, KindTooManySessions, slog.LevelDebug}, // it has its own line
		{errTooOften, KindClientRate, slog.LevelWarn},
		{errStopping, KindStopping, slog.LevelInfo},
		{errors.New("something else"), KindOther, slog.LevelWarn},
	} {
		why := refusalOf(c.err)
		if why.kind != c.kind || why.level != c.level {
			t.Errorf("%v: got %s, %v; want %s, %v", c.err, why.kind, why.level, c.kind, c.level)
		}
		seen[why.kind] = true
	}
	for _, kind := range RefusalKinds {
		if !seen[kind] {
			t.Errorf("%s is not tested", kind)
		}
	}
}

// The requests by which check probes a public listener do not count as failures, even if rules
// refuse them. Check comes from this machine's own address, which is not listed either if it is not
// admitted.
func TestCheckIsNoFailure(t *testing.T) {
	own := &rules.ClientError{IP: netip.MustParseAddr("172.30.0.2"), Own: true, Relays: true}
	if refusalOf(&rules.ClientError{IP: own.IP}).routine {
		t.Error("another address is treated as this machine's own")
	}
	if why := refusalOf(own); why.kind != KindClientNotAllowed || why.level != slog.LevelInfo || !why.routine {
		t.Errorf("got %+v", why)
	}
	for _, err := range []error{errNotTor, errProbe} {
		if why := refusalOf(&requestError{socks.CommandResolve, socks.NotAllowed, err}); why.kind != "" || why.level != slog.LevelDebug {
			t.Errorf("%v counts as a failure", err)
		}
	}
}

// Another machine's request for the address that check resolves is not taken for one of check's.
func TestCheckIsOnThisMachine(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1324} }
	path := &net.UnixAddr{Name: "socket", Net: "unix"}
	for _, c := range []struct {
		client, listener net.Addr
		want             bool
	}{
		{at("127.0.0.1"), at("127.0.0.1"), true},
		{at("127.0.0.1"), at("127.0.0.2"), true},
		{at("::ffff:127.0.0.1"), at("127.0.0.1"), true},
		{at("::1"), at("::1"), true},
		{at("172.30.0.2"), at("172.30.0.2"), true},
		{path, path, true},
		{at("172.30.0.3"), at("172.30.0.2"), false},
		{at("192.0.2.1"), at("127.0.0.1"), false},
		{at("2001:db8::2"), at("2001:db8::1"), false},
	} {
		if got := onThisMachine(c.client, c.listener); got != c.want {
			t.Errorf("%v to %v: got %v", c.client, c.listener, got)
		}
	}
}
