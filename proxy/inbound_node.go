package proxy

import (
	"context"
	"log/slog"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/plain"
)

// errOwnNode reports a node that is a listener of the server: every session would begin
// another, without end.
const errOwnNode = plainError("the node of --inbound is the proxy itself")

// logNode logs what an attempt to connect to a node, which err ended, has changed: once that
// it cannot be reached, and once that it can again.
func (s *Server) logNode(node *inbound.Node, attempt inbound.Attempt, err error) {
	switch {
	case attempt.Down:
		args := []any{"node", node.String(), "reason", plain.Words(err.(*inbound.NodeError).Err)}
		s.log().Log(context.Background(), slog.LevelWarn, "cannot connect to the node; peers are not let in, and it is tried again", append(args, s.hintAttr(err)...)...)
	case attempt.Back > 0:
		s.log().Info("the node is back", "node", node.String(), "after", attempt.Back.Round(time.Millisecond))
	}
}
