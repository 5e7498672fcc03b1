package transport

import (
	"errors"
	"fmt"
	"io"
	"net"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/plain"
)

// Stage is how far a handshake has come.
type Stage int

const (
	// StageKey: the peer's public key has not arrived in full.
	StageKey Stage = iota
	// StageGarbage: the peer's garbage terminator has not been seen.
	StageGarbage
	// StageVersion: the peer's version packet has not arrived.
	StageVersion
	// StageDone: the session stands.
	StageDone
)

func (s Stage) String() string {
	switch s {
	case StageKey:
		return "waiting for the peer's key"
	case StageGarbage:
		return "waiting for the peer's garbage terminator"
	case StageVersion:
		return "waiting for the peer's version packet"
	case StageDone:
		return "done"
	}
	return fmt.Sprintf("stage %d", int(s))
}

var (
	// ErrSilent says that the peer had sent nothing when the first-byte timer
	// went off.
	ErrSilent = errors.New("no answer in time")

	// ErrNoTerminator says that 4095 bytes of garbage and 16 more went by
	// without the garbage terminator: the peer uses another key or network.
	ErrNoTerminator = errors.New("no garbage terminator in 4111 bytes")

	// ErrV1Peer says that the peer's first bytes are a v1 VERSION header of this
	// network: to a responder the first 16, and nothing was sent; to an initiator
	// all 24.
	ErrV1Peer = errors.New("the peer speaks the v1 protocol")

	// ErrV1OtherNetwork says that the peer's first bytes are a v1 VERSION header of
	// another network.
	ErrV1OtherNetwork = errors.New("the peer speaks the v1 protocol on another network")
)

// HandshakeError says where a handshake ended and why. What to do about it is
// the caller's decision.
type HandshakeError struct {
	Stage    Stage
	Sent     int  // bytes given to the network
	Received int  // bytes of the peer's that were read
	ProvenV2 bool // a Dialer knows that the peer speaks v2, which rules out v1
	Err      error

	// First is what the peer sent first, up to 16 bytes: it may show what the peer
	// speaks instead.
	First []byte
}

func (e *HandshakeError) Error() string {
	at := e.Stage.String()
	if e.Stage == StageDone { // all had come; our answer did not get through
		at = "sending our version packet"
	}
	return fmt.Sprintf("v2 handshake failed %s (%d bytes sent, %d received): %s", at, e.Sent, e.Received, plain.Words(e.Err))
}

func (e *HandshakeError) Unwrap() error { return e.Err }

// HungUp says that the remote end closed or reset the connection: no deadline,
// no stop of ours, no fault of the network here, nothing in what was received.
func (e *HandshakeError) HungUp() bool {
	return errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) ||
		errno.Is(e.Err, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
}

// TimedOut reports whether a deadline passed before the handshake was complete.
func (e *HandshakeError) TimedOut() bool {
	var timeout net.Error
	return errors.Is(e.Err, ErrSilent) || errors.As(e.Err, &timeout) && timeout.Timeout()
}
