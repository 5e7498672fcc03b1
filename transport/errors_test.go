package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"bip324proxy/internal/errno"
)

// A peer looks like one without v2 if it has been sent enough, hangs up or stays silent, and sends
// nothing, or if it speaks v1. "No answer" is only said of a peer that sent nothing.
func TestHandshakeErrorSays(t *testing.T) {
	for _, c := range []struct {
		sent, received int
		err            error
		v1             bool
		words          string
	}{
		{24, 0, io.EOF, true, "the connection was closed"},
		{23, 0, io.EOF, false, "the connection was closed"},
		{64, 0, errno.ECONNRESET, true, "the connection was reset"},
		{64, 1, errno.ECONNRESET, false, "the connection was reset"},
		{64, 0, ErrSilent, true, "no answer in time"},
		{64, 0, context.DeadlineExceeded, false, "no answer in time"},
		{64, 0, context.Canceled, false, "canceled"},
		{64, 1, context.DeadlineExceeded, false, "timed out"},
		{64, 200, os.ErrDeadlineExceeded, false, "timed out"},
		{64, 200, errno.ETIMEDOUT, false, "timed out"},
		{64, 24, ErrV1Peer, true, "the peer speaks the v1 protocol"},
		{0, 16, fmt.Errorf("first: %w", ErrV1Peer), true, "first: the peer speaks the v1 protocol"},
		{64, 24, ErrV1OtherNetwork, false, "the peer speaks the v1 protocol on another network"},
		{64, 4175, ErrNoTerminator, false, "no garbage terminator in 4111 bytes"},
		{64, 0, errors.New("unknown"), false, "unknown"},
	} {
		e := &HandshakeError{Sent: c.sent, Received: c.received, Err: c.err}
		if got := e.LooksV1(); got != c.v1 {
			t.Errorf("%v looks like v1: %v", e, got)
		}
		if !strings.HasSuffix(e.Error(), " received): "+c.words) {
			t.Errorf("got %q, want %q", e, c.words)
		}
	}
}
