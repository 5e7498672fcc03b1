package proxy

import (
	"bytes"
	"errors"
	"fmt"

	"bip324proxy/transport"
)

// explainHandshake explains e. noOverlay, if not nil, is why v1 could not follow.
func (s *session) explainHandshake(e *transport.HandshakeError, noOverlay error) (reason, hint string) {
	silent := isTimeout(e) || errors.Is(e, transport.ErrSilent)
	v1 := errors.Is(e, transport.ErrV1Peer)
	other := ForeignProtocol(e.First)
	switch {
	case v1:
		reason = "it speaks v1: it sent a VERSION of " + s.shown.Network
	case errors.Is(e, transport.ErrV1OtherNetwork):
		its := "another network"
		if len(e.First) >= 4 {
			its = transport.NetworkName([4]byte(e.First))
		}
		return fmt.Sprintf("it speaks v1, and on another network than %s: %s", s.shown.Network, its), "see that the client and this peer are on the same network"
	case e.Received > 0 && other != "":
		return fmt.Sprintf("the peer is not a Bitcoin node: it answered in %s", other), "see that the address and the port are right"
	case e.Received > 0 && (errors.Is(e, transport.ErrNoTerminator) || errors.Is(e, transport.ErrAuthentication)),
		e.Received > 0 && (e.HungUp() || silent):
		return e.Error(), "the peer is on another network, does not speak v2, or somebody altered what it sent"
	case e.Received > 0 || !e.HungUp() && !silent:
		return e.Error(), ""
	case silent:
		reason = "the peer did not answer the v2 handshake in time"
	default:
		reason = "the peer hung up during the v2 handshake without an answer"
	}
	switch dialer := &s.dialer; {
	case e.ProvenV2:
		return reason, "it has spoken v2 before, so nothing was sent in plaintext: it may be full, or somebody is cutting the connection"
	case noOverlay != nil:
		return reason, fmt.Sprintf("it may speak v1 only, or be full; nothing was sent in plaintext, for --v1-fallback is overlay, and %v; to reach v1 peers all the same, unencrypted, run with --v1-fallback always", noOverlay)
	case dialer.MayFallBack(s.shown.Dest):
		return reason, ""
	}
	may := "it may speak v1 only, or be full, with no slot free for another connection (bip324-proxy check --v1 tells which); "
	if v1 {
		may = ""
	}
	return reason, may + "nothing was sent in plaintext; to reach v1 peers all the same, unencrypted, run with --v1-fallback always"
}

// ForeignProtocol names the protocol that an answer of a peer begins in, if it is a well
// known one of others than Bitcoin nodes. A v2 key begins so by chance once in a hundred
// million times.
func ForeignProtocol(first []byte) string {
	lower := bytes.ToLower(first)
	switch {
	case bytes.HasPrefix(first, []byte("HTTP/")),
		bytes.HasPrefix(lower, []byte("<html")), bytes.HasPrefix(lower, []byte("<!doc")): // HTTP 0.9: no header
		return "HTTP, as a web server does"
	case len(first) >= 3 && (first[0] == 0x15 || first[0] == 0x16) && first[1] == 3 && first[2] <= 4: // an alert or a handshake record
		return "TLS, as a web server does"
	case bytes.HasPrefix(first, []byte("SSH-")):
		return "SSH"
	}
	return ""
}
