// Package hints says what the user of bip324-proxy can do about a session that failed, in
// terms of the program's settings. The packages that explain failures know none of them.
package hints

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/plain"
	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// For returns what the user can do about f, or nothing. It is a proxy.Server's Hint.
func For(f proxy.Failure) string {
	if f.Inbound {
		return peer(f)
	}
	if f.Err == nil {
		return ofMost[f.Kind]
	}
	if errors.Is(f.Err, transport.ErrMemory) {
		return "if there is enough RAM, run with a larger --message-memory"
	}
	if errors.Is(f.Err, proxy.ErrBindFamily) {
		return "add an address of that family to --bind, or stop the client from asking (Bitcoin Core: onlynet=ipv4)"
	}
	switch f.Kind {
	case proxy.KindOwnAddress:
		if errors.As(f.Err, new(*socks.UpstreamError)) {
			return "name another proxy in --upstream"
		}
	case proxy.KindNotRedirected:
		return "a client with a proxy setting needs an address of --listen; for others, bip324-proxy transparent-rules prints rules that redirect them"
	case proxy.KindRedirectLoop:
		return "exclude the user that the proxy runs as from the rules that redirect, or run the proxy as another user than its clients"
	case proxy.KindUpstream:
		return upstreamDown(f.Err)
	case proxy.KindBind:
		return bind(f.Err)
	case proxy.KindDial, proxy.KindResolve:
		return dial(f)
	case proxy.KindNoV2Answer, proxy.KindHandshake:
		return handshake(f)
	case proxy.KindDenied:
		return denied(f.Err)
	case proxy.KindNoEgress:
		return "set the client's own proxy for such addresses (Bitcoin Core: -onion=, -i2psam=), or, for .onion, run with --upstream socks5://127.0.0.1:9050 (Tor), or stop the client from asking (Bitcoin Core: noonion=1)"
	case proxy.KindPassthroughDenied:
		return "switch off the client's own v2 transport (Bitcoin Core: -v2transport=0), or run with --passthrough allow"
	case proxy.KindPeer:
		if errors.Is(f.Err, proxy.ErrPeerClosed) {
			return "it may be full: a node with no slot free for another connection hangs up at once; or it bans this address"
		}
	case proxy.KindClient, proxy.KindClientLeft: // some hang up when they are asked for a password
		if errors.As(f.Err, new(*proxy.NoDestinationError)) {
			return "set this proxy as the client's SOCKS5 proxy; a client that is made to connect without SOCKS must put its peer's address into VERSION"
		}
		if admit := clientNotAllowed(f.Client); admit != "" {
			return "some clients, such as Bitcoin Core, cannot send a password; " + admit
		}
	case proxy.KindClientNotAllowed:
		return clientNotAllowed(f.Err)
	case proxy.KindClientRate:
		return "if it may, run with a higher --client-rate"
	case proxy.KindTooManySessions:
		if errors.Is(f.Err, proxy.ErrTooManySessions) { // it did not give way to another client
			return "if they are all wanted, run with a higher --max-sessions, and a file descriptor limit (ulimit -n) of six times that"
		}
	}
	return ""
}

// ofMost has what to do if all recent sessions failed, most of them in one way; a single
// such failure needs no action.
var ofMost = map[string]string{
	proxy.KindDial:      "if it goes on: check that this machine has a network connection, and that no firewall blocks this program (bip324-proxy check)",
	proxy.KindHandshake: "if it goes on: check that the client is on the same network as its peers",
	proxy.KindResolve:   "check that the name is right, and that name resolution works on this machine (bip324-proxy check)",
	proxy.KindClient:    "set the client's SOCKS5 proxy to this proxy's address",
}

// upstreamDown is about an upstream proxy that cannot be reached or used.
func upstreamDown(err error) string {
	var e *socks.UpstreamError
	if !errors.As(err, &e) {
		return ""
	}
	const until = "; until then all connections through it fail"
	_, port, _ := net.SplitHostPort(e.Upstream)
	switch {
	case e.Stage != socks.StageDial:
		return "check that --upstream names a SOCKS5 proxy, with its user name and password if it has one (bip324-proxy check says what it is)" + until
	case port == "9050":
		return "start Tor (systemctl start tor); if the Tor Browser is running instead: --upstream socks5://127.0.0.1:9150" + until
	case port == "9150":
		return "start the Tor Browser, and leave it open; if Tor is running as a service instead: --upstream socks5://127.0.0.1:9050" + until
	}
	return "start that proxy, or correct --upstream" + until
}

// bind is about the source of direct connections.
func bind(err error) string {
	var e *proxy.BindError
	const until = "; until then direct connections fail, and none leaves another way"
	switch {
	case !errors.As(err, &e):
		return ""
	case errno.Is(e, errno.EACCES, syscall.EPERM):
		return "Linux before 5.7 requires the capability CAP_NET_RAW for an interface in --bind; write its address instead"
	case e.Interface != "":
		return "bring up that interface, such as a VPN's, or correct --bind" + until
	}
	return "give this machine that address, or correct --bind" + until
}

// dial is about a destination that could not be connected to or resolved.
func dial(f proxy.Failure) string {
	err := f.Err
	var upstream *socks.UpstreamError
	var dns *net.DNSError
	var number syscall.Errno
	switch {
	case isInvalidName(f.Dest):
		return "names in .invalid never resolve, and nothing is wrong: Bitcoin Core asks for one where a network has no DNS seeds"
	case errors.As(err, &upstream) && upstream.Code == socks.ConnectionRefused, errno.Is(err, errno.ECONNREFUSED):
		return "the peer is offline; clients try others"
	case errors.As(err, &upstream):
		if upstream.Code == socks.GeneralFailure {
			return "the upstream proxy does not say why: its log may"
		}
	case errors.As(err, &dns) && !dns.IsNotFound:
		return "check that name resolution works on this machine (bip324-proxy check)"
	case !errors.As(err, &number):
	case plain.IsNoRoute(number):
		return "this machine may have no IPv6, or no network at all (bip324-proxy check)"
	case plain.IsLocal(number):
		return "check this machine's firewall and limits (bip324-proxy check)"
	}
	return ""
}

// isInvalidName reports whether dest is a name that never resolves (RFC 6761).
func isInvalidName(dest string) bool {
	host, _, _ := net.SplitHostPort(dest)
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".invalid")
}

// handshake is about a peer with which there is no v2 session.
func handshake(f proxy.Failure) string {
	var e *transport.HandshakeError
	provenV2 := errors.As(f.Err, new(*fallback.ProvenV2Error))
	switch {
	case !errors.As(f.Err, &e):
	case errors.Is(e, transport.ErrV1OtherNetwork):
		return "check that the client and this peer are on the same network"
	case errors.Is(e, transport.ErrV1Peer) && !provenV2:
		return notInV1(f, "")
	case proxy.ForeignProtocol(e.First) != "":
		return "check that the address and the port are right"
	case e.Received > 0 && !errors.Is(e, transport.ErrV1Peer):
		ended := e.HungUp() || e.TimedOut()
		switch {
		case ended && e.Received < transport.KeySize:
			return "the peer does not speak v2, and is probably not a Bitcoin node; or an attacker cut the connection"
		case ended || errors.Is(e, transport.ErrNoTerminator) || errors.Is(e, transport.ErrAuthentication):
			return "the peer is on another network or does not speak v2, or an attacker altered the data"
		}
	case provenV2 && e.TimedOut():
		return "it has spoken v2 before, so nothing was sent in plaintext: it may hang, or a firewall or an attacker drops what is sent"
	case provenV2:
		return "it has spoken v2 before, so nothing was sent in plaintext: it may be full, or an attacker cuts the connection"
	case e.HungUp():
		return notInV1(f, "it may speak v1 only, or be full, with no slot free for another connection"+tellWhich(f.Dest))
	case e.TimedOut():
		return notInV1(f, "it is not a Bitcoin node, a firewall drops what is sent, or it speaks v1 only"+tellWhich(f.Dest))
	}
	return ""
}

// tellWhich names the command that tells why a peer did not answer. Clients choose dest, and users
// copy the command into a shell.
func tellWhich(dest string) string {
	if dest == "" || strings.HasPrefix(dest, "-") || !terminal.IsPlain(dest, ".:-_[]%") {
		dest = "HOST:PORT"
	}
	return " (bip324-proxy check --v1 " + dest + " tells which); "
}

// OnePeer says how to reach one peer that speaks v1 only, without allowing v1 to others.
const OnePeer = "how to reach only this one: docs/fallback.md#one-old-peer"

// notInV1 says why v1 was not spoken and how to allow it; may is what the peer may be.
func notInV1(f proxy.Failure, may string) string {
	why := ""
	switch {
	case errors.Is(f.NotOverlay, proxy.ErrNotCJDNS):
		why = ": --v1-fallback is overlay, and an address in fc00::/8 counts as CJDNS only with --cjdnsreachable"
	case f.NotOverlay != nil:
		why = fmt.Sprintf(": --v1-fallback is overlay, and %v", f.NotOverlay)
	case f.V1:
		return ""
	}
	return may + "nothing was sent in plaintext" + why + "; to reach v1 peers anyway, in plaintext, run with --v1-fallback always; " + OnePeer
}

func denied(err error) string {
	var e *rules.DeniedError
	if !errors.As(err, &e) {
		return ""
	}
	dest := e.Dest
	if dest == proxy.Redacted {
		dest = "the address"
	}
	allow := "add " + dest + " to allow (--allow, BIP324_PROXY_ALLOW)"
	if e.Rule != "" {
		return "the rule is one of deny (--deny, BIP324_PROXY_DENY); if clients may go there, remove it, or " + allow
	}
	return "if clients may go there, " + allow
}

// clientNotAllowed says how to admit a client; err is nil or why its address is not.
func clientNotAllowed(err error) string {
	var e *rules.ClientError
	switch {
	case !errors.As(err, &e):
		return ""
	case !e.IP.IsValid():
		return "if it may use the proxy, " + toClients("its address")
	case e.Own:
		return "bip324-proxy check on this machine connects from there, and is no reason to worry; with some container engines so do connections to a published port: do not publish it"
	case e.Relays:
		return "do not publish or forward the proxy's port; if only programs of that machine come from there, " + toClients(rules.Spelling(e.IP))
	}
	return "if it may use the proxy, " + toClients(rules.Spelling(e.IP))
}

// toClients names every place where clients can be set: the user knows which one has them.
func toClients(addr string) string {
	return "add " + addr + " to clients (--clients, BIP324_PROXY_CLIENTS)"
}
