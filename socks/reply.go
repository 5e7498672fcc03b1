package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"bip324proxy/internal/errno"
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

// Tor's own codes, for a client of an onion service (its proposal 304). Tor
// sends them if its SocksPort has ExtendedErrors.
const (
	OnionDescriptorNotFound ReplyCode = 0xF0
	OnionDescriptorInvalid  ReplyCode = 0xF1
	OnionIntroFailed        ReplyCode = 0xF2
	OnionRendezvousFailed   ReplyCode = 0xF3
	OnionAuthMissing        ReplyCode = 0xF4
	OnionAuthWrong          ReplyCode = 0xF5
	OnionAddressInvalid     ReplyCode = 0xF6
	OnionIntroTimedOut      ReplyCode = 0xF7
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
	case OnionDescriptorNotFound:
		return "Tor: onion service descriptor not found"
	case OnionDescriptorInvalid:
		return "Tor: onion service descriptor invalid"
	case OnionIntroFailed:
		return "Tor: introduction to the onion service failed"
	case OnionRendezvousFailed:
		return "Tor: rendezvous with the onion service failed"
	case OnionAuthMissing:
		return "Tor: the onion service requires client authorization"
	case OnionAuthWrong:
		return "Tor: the onion service rejects the client authorization"
	case OnionAddressInvalid:
		return "Tor: onion address invalid"
	case OnionIntroTimedOut:
		return "Tor: introduction to the onion service timed out"
	}
	return fmt.Sprintf("reply 0x%02x", uint8(c))
}

// message is the reply that every client can read: always 10 bytes, the bound
// address 0.0.0.0:0. Another length or address type breaks some of them.
func message(code ReplyCode) []byte {
	return []byte{Version, byte(code), 0, atypIPv4, 0, 0, 0, 0, 0, 0}
}

// Reply answers the request that Negotiate returned, in one Write, within 5
// seconds. It sets the write deadline of the connection and clears it after
// Succeeded; after a refusal there is only closing left, and the deadline stays
// as a bound for that. Data from the destination must go in a later Write: some
// clients drop what comes along with the reply. A Request that is not from
// Negotiate has nobody to answer.
func (r *Request) Reply(code ReplyCode) error {
	if r.conn == nil {
		return nil
	}
	err := r.send(message(code))
	if err == nil && code == Succeeded {
		err = r.conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return fmt.Errorf("SOCKS reply (%v): %w", code, err)
	}
	return nil
}

// ReplyAddr answers a RESOLVE with ip, which must be valid, in one Write, within
// 5 seconds. As after a refusal there is only closing left.
func (r *Request) ReplyAddr(ip netip.Addr) error {
	if !ip.IsValid() {
		return errors.New("SOCKS reply: no address to answer with")
	}
	msg := appendIP([]byte{Version, byte(Succeeded), 0}, ip.Unmap())
	if err := r.send(append(msg, 0, 0)); err != nil {
		return fmt.Errorf("SOCKS reply (%v): %w", ip, err)
	}
	return nil
}

// send writes msg, behind what is still held back.
func (r *Request) send(msg []byte) error {
	err := r.conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	if err == nil {
		_, err = r.conn.Write(append(r.held, msg...))
		r.held = nil
	}
	return err
}

// CodeOf is the reply for the outcome of a dial. A name that cannot be resolved
// is an unreachable host, a dial that ran out of time an expired TTL. An upstream
// proxy's code is passed on if it is one of RFC 1928's; Tor's own become
// HostUnreachable, or GeneralFailure for want of authorization, because some
// clients take unknown codes for success. nil is Succeeded.
func CodeOf(err error) ReplyCode {
	var upstream *UpstreamError
	var timeout net.Error
	var dns *net.DNSError
	switch {
	case err == nil:
		return Succeeded
	case errors.As(err, &upstream):
		return upstream.reply()
	case errno.Is(err, errno.ECONNREFUSED):
		return ConnectionRefused
	case errno.Is(err, errno.EHOSTUNREACH, errno.EHOSTDOWN):
		return HostUnreachable
	case errno.Is(err, errno.ENETUNREACH, errno.ENETDOWN):
		return NetworkUnreachable
	case errors.Is(err, context.Canceled): // ours, so no fault of the destination, nor of its name
		return GeneralFailure
	case errors.As(err, &dns): // also one that no server answered for: it says nothing of the destination
		return HostUnreachable
	case errno.Is(err, errno.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return TTLExpired
	}
	return GeneralFailure
}
