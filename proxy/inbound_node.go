package proxy

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/plain"
	"bip324proxy/v1v2"
)

// nodeReplyTimeout is how long the node may take for its first message after the peer's
// VERSION: Bitcoin Core's handshake timeout.
const nodeReplyTimeout = time.Minute

// errOwnNode reports a node that is a listener of the server: every session would start
// another, without end.
const errOwnNode = plainError("the node of --inbound is the proxy itself")

// ownNode logs, and returns, that a node is a listener of the server.
func (s *Server) ownNode(node *inbound.Node) error {
	s.logFolded("own node "+node.String(), slog.LevelWarn, nil, cannotConnect, "node", node.String(), "reason", errOwnNode.Error())
	return &inbound.NodeError{Node: node.String(), Err: errOwnNode}
}

// cannotConnect is the line about a node that is down.
const cannotConnect = "cannot connect to the node; inbound peers are refused"

// logNode logs what an attempt to connect to a node, which ended with err, has changed: once that
// it cannot be reached, and once that it can again.
func (s *Server) logNode(node *inbound.Node, attempt inbound.Attempt, err error) {
	switch {
	case attempt.Down:
		args := []any{"node", node.String(), "reason", plain.Words(err.(*inbound.NodeError).Err)}
		s.log().Log(context.Background(), slog.LevelWarn, cannotConnect, append(args, hintAttr(s.hint(Failure{Inbound: true, Kind: KindNode, Err: err}))...)...)
	case attempt.Back > 0:
		s.log().Info("the node is back", "node", node.String(), "after", attempt.Back.Round(time.Millisecond))
	}
}

// awaitReply fails the session, translated from now on, if the node sends no message before
// long: one that hangs would keep all its peers.
func (s *session) awaitReply() *time.Timer {
	timeout := cmp.Or(s.peer.replyTimeout, nodeReplyTimeout)
	return time.AfterFunc(timeout, func() {
		if progress(&s.up) == 0 {
			s.fail(&v1v2.EndError{Side: v1v2.ClientSide, Err: plainError(fmt.Sprintf("it accepted the connection, and sent no message within %.0f s", timeout.Seconds()))})
		}
	})
}
