package v1v2

import "fmt"

// Side is one side of a session.
type Side string

// The two sides.
const (
	ClientSide Side = "client" // which speaks v1: the user of a Conn
	PeerSide   Side = "peer"
)

// EndError says on which side a session ended, and why: Err is io.EOF if the side closed its
// stream between messages, otherwise what is wrong with its stream or the last message.
type EndError struct {
	Side Side
	Err  error
}

func (e *EndError) Error() string { return fmt.Sprintf("%s: %v", e.Side, e.Err) }

func (e *EndError) Unwrap() error { return e.Err }
