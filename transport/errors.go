package transport

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/plain"
	"bip324proxy/internal/stream"
)

// Stage is the progress of a handshake.
type Stage int

const (
	StageKey     Stage = iota // waiting for the peer's public key
	StageGarbage              // waiting for the peer's garbage terminator, for which a peer of another network has another value
	StageVersion              // waiting for the peer's version packet
	StageDone                 // the session is established
)

var stageNames = map[Stage]string{
	StageKey:     "waiting for the peer's key",
	StageGarbage: "waiting for the peer's garbage terminator",
	StageVersion: "waiting for the peer's version packet",
	StageDone:    "done",
}

// String returns the stage's name.
func (s Stage) String() string { return cmp.Or(stageNames[s], fmt.Sprintf("stage %d", int(s))) }

var (
	// ErrSilent reports that the peer sent nothing within Config.FirstByteTimeout.
	ErrSilent = errors.New("no answer in time")

	// ErrNoTerminator reports that the peer's garbage terminator did not arrive within
	// 4095 bytes of garbage: the peer has another key or network.
	ErrNoTerminator = errors.New("no garbage terminator in 4111 bytes")

	// ErrV1Peer reports that the peer began with a v1 VERSION header of this network: a
	// responder has seen 16 bytes of it and sent nothing, an initiator all 24.
	ErrV1Peer = errors.New("the peer speaks the v1 protocol")

	// ErrV1OtherNetwork reports that the peer began with a v1 VERSION header of another
	// network.
	ErrV1OtherNetwork = errors.New("the peer speaks the v1 protocol on another network")

	// ErrStalled reports that an earlier write failed because the peer took nothing for
	// Config.WriteTimeout. Nothing can be sent any more.
	ErrStalled = stream.ErrStalled

	// ErrSlow reports a packet of over 16 KiB that took more than ten minutes to arrive.
	ErrSlow = stream.ErrSlow

	// ErrMemory reports a packet for which Config.Memory had no room in time, or never has.
	ErrMemory = stream.ErrMemory

	// ErrReclaimed reports a packet that the peer sent or took too slowly while others waited
	// for its memory: see NewReclaimingMemory.
	ErrReclaimed = stream.ErrReclaimed
)

// PendingError reports that a write deadline passed before all of a packet was sent, or
// of several that were queued. The rest is kept, and sent first by the next call that
// writes.
type PendingError struct {
	Err error // wraps os.ErrDeadlineExceeded
}

func (e *PendingError) Error() string { return "not sent in time: " + e.Err.Error() }

func (e *PendingError) Unwrap() error { return e.Err }

// Timeout returns true, and makes e a net.Error.
func (e *PendingError) Timeout() bool { return true }

// Temporary returns true, and makes e a net.Error.
func (e *PendingError) Temporary() bool { return true }

// HandshakeError reports where a handshake ended and why.
type HandshakeError struct {
	Stage    Stage
	Sent     int    // bytes
	Received int    // bytes
	First    []byte // the first 16 of them at most, which may show another protocol
	Err      error
}

func (e *HandshakeError) Error() string {
	at := e.Stage.String()
	if e.Stage == StageDone { // all was received, but not all could be sent
		at = "sending our version packet"
	}
	why := plain.Words(e.Err)
	if e.Received > 0 && e.TimedOut() {
		why = "timed out"
	}
	return fmt.Sprintf("the v2 handshake failed %s (%d bytes sent, %d received): %s", at, e.Sent, e.Received, why)
}

func (e *HandshakeError) Unwrap() error { return e.Err }

// HungUp reports whether the peer closed or reset the connection: the cause is neither
// a deadline, nor the context, nor the local network, nor what was received.
func (e *HandshakeError) HungUp() bool {
	return errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) ||
		errno.Is(e.Err, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
}

// minSent is how much of a v2 handshake, in bytes, a v1 peer needs to see that it is
// not a v1 header: the size of that header (Bitcoin Core, ShouldReconnectV1).
const minSent = 24

// LooksV1 reports whether the peer behaved like a node without v2: it sent a v1 VERSION
// header of the network, or, having been sent 24 bytes, hung up or stayed silent past
// Config.FirstByteTimeout, and sent nothing. So does a node that is full, and anyone can
// provoke it by cutting connections.
func (e *HandshakeError) LooksV1() bool {
	return errors.Is(e, ErrV1Peer) || e.Sent >= minSent && e.Received == 0 && (e.HungUp() || errors.Is(e, ErrSilent))
}

// TimedOut reports whether a deadline passed before the handshake was complete.
func (e *HandshakeError) TimedOut() bool {
	var timeout net.Error
	return errors.Is(e.Err, ErrSilent) || errors.As(e.Err, &timeout) && timeout.Timeout()
}
