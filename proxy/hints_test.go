package proxy_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"bip324proxy/inbound"
	"bip324proxy/internal/hints"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// explain returns the reason and the hint of a session that ended with err.
func explain(err error) (reason, hint string) {
	kind, reason := proxy.Explain(err, "mainnet")
	return reason, hints.For(proxy.Failure{Kind: kind, Err: err})
}

// If a peer answers the v2 handshake with something else, the reason says what it is and the hint
// what to do, with redacted addresses, too.
func TestExplainHandshake(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Source: new(net.TCPAddr), Addr: new(net.TCPAddr), Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, c := range []struct {
		first        string
		err          error
		reason, hint string
	}{
		{"HTTP/1.1 400 Bad", io.EOF, "not a Bitcoin node: it answered in HTTP", "the address and the port"},
		{"<html>\r\n<head><t", io.EOF, "it answered in HTTP", "the address and the port"},
		{"<!DOCTYPE HTML P", reset, "it answered in HTTP", "the address and the port"},
		{"\x15\x03\x01\x00\x02\x02\x46", reset, "it answered in TLS", "the address and the port"},
		{"SSH-2.0-OpenSSH_", transport.ErrNoTerminator, "it answered in SSH", "the address and the port"},
		{"\x0b\x11\x09\x07version\x00\x00\x00\x00\x00", transport.ErrV1OtherNetwork, "another network than mainnet: testnet3", "same network"},
		{"\xfa\xfb\xfc\xfdversion\x00\x00\x00\x00\x00", transport.ErrV1OtherNetwork, "another network than mainnet: fafbfcfd", "same network"},
		{"\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00", transport.ErrV1Peer, "a VERSION of mainnet", "--v1-fallback always; how to reach only this one: docs/fallback.md#one-old-peer"},
		{"\x01\x02\x03", reset, "(67 bytes sent, 3 received): the connection was reset", "not a Bitcoin node"},
		{strings.Repeat("\x01", 64), reset, "64 received): the connection was reset", "another network"},
		{"", io.EOF, "hung up during the v2 handshake without an answer", "no slot free"},
		{"", transport.ErrSilent, "did not answer the v2 handshake in time", "a firewall drops"},
	} {
		e := &transport.HandshakeError{Sent: 67, Received: len(c.first), First: []byte(c.first), Err: c.err}
		for _, err := range []error{e, proxy.Redact(e)} {
			reason, hint := explain(err)
			if !strings.Contains(reason, c.reason) || !strings.Contains(hint, c.hint) {
				t.Errorf("%q, %v: got %q -> %q; want %q -> %q", c.first, c.err, reason, hint, c.reason, c.hint)
			}
		}
	}
}

// The reason for a client that is not admitted names it, unless addresses are redacted.
func TestExplainClient(t *testing.T) {
	for _, relays := range []bool{false, true} {
		e := &rules.ClientError{IP: netip.MustParseAddr("203.0.113.7"), Relays: relays}
		reason, hint := explain(e)
		if !strings.HasPrefix(reason, "the client 203.0.113.7 is ") || !strings.Contains(hint, "add public:203.0.113.7 to clients (--clients, BIP324_PROXY_CLIENTS)") {
			t.Errorf("got %s; %s", reason, hint)
		}
		redacted := proxy.Redact(e)
		var kept *rules.ClientError
		reason, hint = explain(redacted)
		if !errors.As(redacted, &kept) || kept.Relays != relays || strings.Contains(reason+hint, "203.0.113.7") || !strings.Contains(hint, "--clients") {
			t.Errorf("redacted: got %s; %s", reason, hint)
		}
	}
	_, hint := explain(&rules.ClientError{IP: netip.MustParseAddr("172.30.0.2"), Own: true, Relays: true})
	if strings.Contains(hint, "172.30.0.2") || !strings.Contains(hint, "bip324-proxy check") {
		t.Errorf("the hint for this machine's own address is %q", hint)
	}
	for _, why := range []error{errors.New("wrong"), io.EOF} { // it may hang up when it is asked
		err := &socks.NegotiationError{Stage: socks.StageAuth, Err: why}
		kind, _ := proxy.Explain(err, "mainnet")
		hint = hints.For(proxy.Failure{Kind: kind, Err: err, Client: &rules.ClientError{IP: netip.MustParseAddr("172.30.0.2")}})
		if !strings.Contains(hint, "add 172.30.0.2 to clients") {
			t.Errorf("the hint for a client without the password (%v) is %q", why, hint)
		}
	}
}

// If all sessions fail in the same way there is a hint, even for kinds without one for a single
// failure.
func TestHintsOfMost(t *testing.T) {
	for _, kind := range []string{proxy.KindDial, proxy.KindHandshake, proxy.KindResolve, proxy.KindClient} {
		if hints.For(proxy.Failure{Kind: kind}) == "" {
			t.Errorf("%s has no hint", kind)
		}
	}
}

// The hint for a peer that does not answer names the command that tells why, with the peer, unless
// the peer's name could mean something to a shell.
func TestHintsNameThePeer(t *testing.T) {
	for dest, want := range map[string]string{
		"192.0.2.1:8333":      "check --v1 192.0.2.1:8333 tells which",
		"[2001:db8::1]:18444": "check --v1 [2001:db8::1]:18444 tells which",
		"a-b.example:8333":    "check --v1 a-b.example:8333 tells which",
		"$(reboot):8333":      "check --v1 HOST:PORT tells which",
		"a;reboot:8333":       "check --v1 HOST:PORT tells which",
		"--help:8333":         "check --v1 HOST:PORT tells which",
		"":                    "check --v1 HOST:PORT tells which",
	} {
		for _, err := range []error{io.EOF, transport.ErrSilent} {
			f := proxy.Failure{Kind: proxy.KindNoV2Answer, Dest: dest, Err: &transport.HandshakeError{Sent: 67, Err: err}}
			if hint := hints.For(f); !strings.Contains(hint, want) {
				t.Errorf("%q, %v: got %q, want %q", dest, err, hint, want)
			}
		}
	}
}

// Most addresses that a client tries are dead: that is said, and so is what needs no action.
func TestHintsOfDeadPeers(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	noName := &net.DNSError{Err: "no such host", IsNotFound: true}
	for _, c := range []struct {
		dest string
		err  error
		want string
	}{
		{"192.0.2.1:8333", refused, "the peer is offline"},
		{"192.0.2.1:8333", &socks.UpstreamError{Stage: socks.StageRequest, Code: socks.ConnectionRefused, Err: io.EOF}, "the peer is offline"},
		{"dummySeed.invalid:18444", noName, "nothing is wrong"},
		{"dummyseed.invalid.:18444", &socks.UpstreamError{Stage: socks.StageRequest, Code: socks.HostUnreachable, Err: io.EOF}, "nothing is wrong"},
		{"invalid.example:8333", noName, ""},
	} {
		if got := hints.For(proxy.Failure{Kind: proxy.KindDial, Dest: c.dest, Err: c.err}); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s, %v: got %q, want %q", c.dest, c.err, got, c.want)
		}
	}
}

// The page that hints name has the heading.
func TestHintsNameAHeading(t *testing.T) {
	page, err := os.ReadFile("../docs/fallback.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(hints.OnePeer, "docs/fallback.md#one-old-peer") || !strings.Contains(string(page), "\n## One old peer\n") {
		t.Errorf("docs/fallback.md lacks the heading of %q", hints.OnePeer)
	}
}

// Only about a node that could not be connected to there is advice to look whether it runs.
func TestHintsAboutTheNode(t *testing.T) {
	down := &inbound.NodeError{Node: "127.0.0.1:8334", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	left := &v1v2.EndError{Side: v1v2.ClientSide, Err: io.EOF}
	for err, want := range map[error]bool{down: true, left: false, nil: true} {
		hint := hints.For(proxy.Failure{Inbound: true, Kind: proxy.KindNode, Err: err})
		if got := strings.Contains(hint, "check that the node is running"); got != want {
			t.Errorf("%v: got %q", err, hint)
		}
	}
}
