package proxy

import (
	"errors"
	"fmt"
	"log/slog"

	"bip324proxy/inbound"
	"bip324proxy/internal/plain"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// The kinds of inbound refusals, besides KindStopping and KindOther.
const (
	KindNode         = "node"          // it cannot be connected to, or did not take the peer's VERSION
	KindInboundFull  = "inbound_full"  // all sessions are in use
	KindInboundLimit = "inbound_limit" // too many or too often, of one address, network or in all
	KindV1Refused    = "v1_refused"    // a VERSION in v1, which is not allowed
	KindOtherNetwork = "other_network" // a VERSION in v1 of another network
	KindScanner      = "scanner"       // no valid handshake and VERSION: most likely not a Bitcoin node
)

// inboundRefusals is for peers' sessions what refusals is for clients'. What strangers can
// cause at will is counted, and neither listed nor a line in the log: routine at
// slog.LevelDebug.
var inboundRefusals = []refusal{
	{is: func(err error) bool { return err == nil }, words: func(error, string) string { return "both sides closed the connection" }},
	{kind: KindStopping, is: isOneOf(errStopping), level: slog.LevelDebug, routine: true},
	{kind: KindNode, is: isA[*inbound.NodeError], level: slog.LevelDebug}, // logNode logs it
	{kind: KindNode, is: when(func(e *v1v2.EndError) bool { return e.Side == v1v2.ClientSide }), by: peerCaused, level: slog.LevelWarn, words: inboundEndWords},
	{kind: KindInboundFull, is: isOneOf(inbound.ErrFull), level: slog.LevelDebug, routine: true},
	{kind: KindInboundLimit, is: isA[inbound.Error], level: slog.LevelDebug, routine: true},
	{kind: KindV1Refused, is: isOneOf(transport.ErrV1Peer), level: slog.LevelDebug, routine: true, words: responderWords},
	{kind: KindOtherNetwork, is: isOneOf(transport.ErrV1OtherNetwork), level: slog.LevelDebug, routine: true, words: responderWords},
	{kind: KindScanner, is: isA[*transport.HandshakeError], level: slog.LevelDebug, routine: true, words: responderWords},
	{kind: KindOther, is: isA[*stalledError], level: slog.LevelWarn, words: inboundEndWords}, // only open sessions stall
	{kind: KindOther, is: isOneOf(transport.ErrMemory), level: slog.LevelWarn, words: inboundEndWords},
	{kind: KindScanner, is: func(error) bool { return true }, level: slog.LevelDebug, routine: true, words: inboundEndWords},
}

// InboundRefusalKinds are all kinds of refusals of peers' sessions.
var InboundRefusalKinds = kindsOf(inboundRefusals)

// nodeSide is v1v2.ClientSide in words about a peer's session.
const nodeSide v1v2.Side = "node"

// inboundEndWords explains the end of a session in which the client is the node. An error
// of no side is the peer's: it has sent no VERSION.
func inboundEndWords(err error, network string) string {
	var end *v1v2.EndError
	var stalled *stalledError
	side := v1v2.PeerSide
	switch {
	case errors.As(err, &end):
		side, err = end.Side, end.Err
	case errors.As(err, &stalled):
		side = stalled.side
	case isA[plainError](err):
		return plain.Words(err)
	}
	if side == v1v2.ClientSide {
		side = nodeSide
	}
	if stalled != nil {
		return (&stalledError{side}).Error()
	}
	return endWords(&v1v2.EndError{Side: side, Err: err}, network)
}

// responderWords explains a failed handshake that the peer was to begin.
func responderWords(err error, network string) string {
	var e *transport.HandshakeError
	switch {
	case !errors.As(err, &e):
		return plain.Words(err)
	case errors.Is(e, transport.ErrV1Peer), errors.Is(e, transport.ErrV1OtherNetwork):
		return handshakeWords(e, network)
	case e.TimedOut(), errors.Is(e, errNoVersion):
		return fmt.Sprintf("the peer did not complete the v2 handshake in time: it sent %d bytes", e.Received)
	case e.HungUp():
		return fmt.Sprintf("the peer hung up during the v2 handshake, after %d bytes", e.Received)
	}
	return "the peer's v2 handshake is invalid: " + plain.Words(e.Err)
}
