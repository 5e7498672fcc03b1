package socks

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"bip324proxy/internal/plain"
)

// Stage is the part of a conversation that it failed in.
type Stage string

// The stages, in order.
const (
	StageDial     Stage = "dial" // with an upstream proxy
	StageGreeting Stage = "greeting"
	StageAuth     Stage = "authentication"
	StageRequest  Stage = "request"
)

// NegotiationError is the error of Negotiate. It never holds credentials.
type NegotiationError struct {
	Stage Stage
	Reply ReplyCode // what the request was answered with; Succeeded if it was not answered
	// Err is the cause: io.EOF if the client closed without having sent a byte,
	// io.ErrUnexpectedEOF if it closed later, os.ErrDeadlineExceeded if the time
	// ran out, another error of the connection, or in words what was wrong.
	Err error
}

// Error says what happened and, where the client's settings are to blame, what
// to change.
func (e *NegotiationError) Error() string {
	why := plain.Words(e.Err)
	timeout, ok := e.Err.(net.Error) // the error itself: one within carries a cause of its own
	switch {
	case e.Err == io.EOF:
		why = "the client closed the connection without sending anything"
	case e.Err == io.ErrUnexpectedEOF:
		why = "the client closed the connection before it was complete"
	case ok && timeout.Timeout():
		why = "the client did not complete it in time"
	}
	if e.Reply != Succeeded {
		why += fmt.Sprintf(" (answered: %v)", e.Reply)
	}
	return fmt.Sprintf("SOCKS %s: %s", e.Stage, why)
}

// Unwrap returns the cause.
func (e *NegotiationError) Unwrap() error { return e.Err }

// AddrError is a destination that is none.
type AddrError struct {
	Addr string // the host, or "host:port", as it is shown

	before, after string // what is wrong
}

func (e *AddrError) Error() string { return strings.TrimSpace(e.before + " " + e.Addr + e.after) }

// quoted is how an address is shown that may be anything, and of any length.
func quoted(addr string) string {
	if len(addr) > maxField {
		return fmt.Sprintf("%.20q...", addr)
	}
	return strconv.Quote(addr)
}

// notSOCKS5 says what a connection that starts with first looks like.
func notSOCKS5(first byte) error {
	switch first {
	case 0x04:
		return errors.New("the client speaks SOCKS4: set the client to SOCKS5")
	case 'G', 'P', 'H', 'C', 'D', 'O': // GET, POST, HEAD, CONNECT, DELETE, OPTIONS
		return errors.New("the client speaks HTTP: this is a SOCKS5 proxy, not an HTTP proxy")
	case 0x16: // handshake record
		return errors.New("the client speaks TLS: set the client to SOCKS5 without TLS")
	}
	return fmt.Errorf("the client does not speak SOCKS5: its first byte is 0x%02x, not 0x05", first)
}
