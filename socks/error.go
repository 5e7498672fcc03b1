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

// Stage is a part of a negotiation.
type Stage string

// The stages, in order.
const (
	StageDial     Stage = "dial" // of an upstream proxy
	StageGreeting Stage = "greeting"
	StageAuth     Stage = "authentication"
	StageRequest  Stage = "request"
)

// NegotiationError is the error of Negotiate. It never contains credentials.
type NegotiationError struct {
	Stage Stage
	Reply ReplyCode // the reply to the request; Succeeded if there was none
	// Err is the cause: io.EOF if the client closed the connection without sending a
	// byte, io.ErrUnexpectedEOF if it closed it later, os.ErrDeadlineExceeded if it
	// timed out, another error of the connection, or an error in words.
	Err error
}

// Error returns what happened and, if the client's settings are wrong, what to change.
func (e *NegotiationError) Error() string {
	why := plain.Words(e.Err)
	timeout, ok := e.Err.(net.Error) // not errors.As: a wrapped one has another cause
	switch {
	case e.Err == io.EOF:
		why = "the client closed the connection without sending anything"
	case e.Err == io.ErrUnexpectedEOF:
		why = "the client closed the connection in the middle of it"
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

// AddrError reports an invalid destination.
type AddrError struct {
	Addr string // the host, or "host:port", for display

	before, after string // what is wrong
}

func (e *AddrError) Error() string { return strings.TrimSpace(e.before + " " + e.Addr + e.after) }

// quoted returns an address of any content and length, for display.
func quoted(addr string) string {
	if len(addr) > maxField {
		return fmt.Sprintf("%.20q...", addr)
	}
	return strconv.Quote(addr)
}

// notSOCKS5 returns an error that says what a client speaks whose first byte is first.
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
