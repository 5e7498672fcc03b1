package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

const replyTimeout = 5 * time.Second

// ReplyCode is the REP of a reply (RFC 1928, section 6).
type ReplyCode uint8

// The codes of RFC 1928.
const (
	Succeeded               ReplyCode = 0
	GeneralFailure          ReplyCode = 1
	NotAllowed              ReplyCode = 2
	NetworkUnreachable      ReplyCode = 3
	HostUnreachable         ReplyCode = 4
	ConnectionRefused       ReplyCode = 5
	TTLExpired              ReplyCode = 6
	CommandNotSupported     ReplyCode = 7
	AddressTypeNotSupported ReplyCode = 8
)

// String says in words what the code tells the client.
func (c ReplyCode) String() string {
	switch c {
	case Succeeded:
		return "succeeded"
	case GeneralFailure:
		return "general failure"
	case NotAllowed:
		return "not allowed"
	case NetworkUnreachable:
		return "network unreachable"
	case HostUnreachable:
		return "host unreachable"
	case ConnectionRefused:
		return "connection refused"
	case TTLExpired:
		return "TTL expired"
	case CommandNotSupported:
		return "command not supported"
	case AddressTypeNotSupported:
		return "address type not supported"
	}
	return fmt.Sprintf("reply 0x%02x", uint8(c))
}

// message is the reply that every client can read: always 10 bytes, the bound
// address 0.0.0.0:0. Another length or address type breaks some of them.
func message(code ReplyCode) []byte {
	return []byte{version5, byte(code), 0, atypIPv4, 0, 0, 0, 0, 0, 0}
}

// Reply answers the request that Negotiate returned, in one Write, within 5
// seconds. It sets the write deadline of conn and clears it after Succeeded;
// after a refusal there is only closing left, and the deadline stays as a bound
// for that. Data from the destination must go in a later Write: some clients
// drop what comes along with the reply.
func Reply(conn net.Conn, code ReplyCode) error {
	err := conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	if err == nil {
		_, err = conn.Write(message(code))
	}
	if err == nil && code == Succeeded {
		err = conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return fmt.Errorf("SOCKS reply (%v): %w", code, err)
	}
	return nil
}

// CodeOf is the reply for the outcome of a dial. A name that cannot be resolved
// is an unreachable host, a dial that ran out of time an expired TTL. nil is
// Succeeded.
func CodeOf(err error) ReplyCode {
	var timeout net.Error
	var dns *net.DNSError
	switch {
	case err == nil:
		return Succeeded
	case isAny(err, errConnRefused):
		return ConnectionRefused
	case isAny(err, errHostUnreach, errHostDown):
		return HostUnreachable
	case isAny(err, errNetUnreach, errNetDown):
		return NetworkUnreachable
	case errors.Is(err, context.Canceled): // ours, so no fault of the destination, nor of its name
		return GeneralFailure
	case isAny(err, errTimedOut), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return TTLExpired
	case errors.As(err, &dns):
		return HostUnreachable
	}
	return GeneralFailure
}

func isAny(err error, errnos ...syscall.Errno) bool {
	for _, errno := range errnos {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
