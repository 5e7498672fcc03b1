package socks

import (
	"cmp"
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

var replyWords = map[ReplyCode]string{
	Succeeded:               "succeeded",
	GeneralFailure:          "general failure",
	NotAllowed:              "not allowed",
	NetworkUnreachable:      "network unreachable",
	HostUnreachable:         "host unreachable",
	ConnectionRefused:       "connection refused",
	TTLExpired:              "TTL expired",
	CommandNotSupported:     "command not supported",
	AddressTypeNotSupported: "address type not supported",
	OnionDescriptorNotFound: "Tor: onion service descriptor not found",
	OnionDescriptorInvalid:  "Tor: onion service descriptor invalid",
	OnionIntroFailed:        "Tor: introduction to the onion service failed",
	OnionRendezvousFailed:   "Tor: rendezvous with the onion service failed",
	OnionAuthMissing:        "Tor: the onion service requires client authorization",
	OnionAuthWrong:          "Tor: the onion service rejects the client authorization",
	OnionAddressInvalid:     "Tor: onion address invalid",
	OnionIntroTimedOut:      "Tor: introduction to the onion service timed out",
}

// String returns what the code means.
func (c ReplyCode) String() string {
	return cmp.Or(replyWords[c], fmt.Sprintf("reply 0x%02x", uint8(c)))
}

// message returns the reply that every client understands: 10 bytes, with the bound
// address 0.0.0.0:0. Another length or address type breaks some clients.
func message(code ReplyCode) []byte {
	return []byte{Version, byte(code), 0, atypIPv4, 0, 0, 0, 0, 0, 0}
}

// Reply answers a request from Negotiate in one Write, within 5 seconds; on any other
// Request it does nothing. It sets the write deadline of the connection, and clears it
// after Succeeded; after a refusal the deadline stays, to bound how long closing takes.
// Data from the destination must go in a later Write: some clients drop data that arrives
// with the reply.
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

// ReplyAddr answers a RESOLVE with ip, which must be valid, in one Write, within 5
// seconds. The write deadline of the connection stays.
func (r *Request) ReplyAddr(ip netip.Addr) error {
	if !ip.IsValid() {
		return errors.New("SOCKS reply: no address")
	}
	msg := appendIP([]byte{Version, byte(Succeeded), 0}, ip.Unmap())
	if err := r.send(append(msg, 0, 0)); err != nil {
		return fmt.Errorf("SOCKS reply (%v): %w", ip, err)
	}
	return nil
}

// send writes what is still held back, and msg.
func (r *Request) send(msg []byte) error {
	err := r.conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	if err == nil {
		_, err = r.conn.Write(append(r.held, msg...))
		r.held = nil
	}
	return err
}

// CodeOf returns the reply to a CONNECT for the error of dialing. A name that cannot be
// resolved gives HostUnreachable, a timeout TTLExpired, nil Succeeded. An upstream proxy's
// code is passed on if it is one of RFC 1928's; Tor's own become HostUnreachable, or
// GeneralFailure if authorization is missing, because some clients take unknown codes for
// success.
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
	case errors.Is(err, context.Canceled): // by the proxy: says nothing about the destination
		return GeneralFailure
	case errors.As(err, &dns): // before timeouts: a DNS server's is not the destination's
		return HostUnreachable
	case errno.Is(err, errno.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return TTLExpired
	}
	return GeneralFailure
}
