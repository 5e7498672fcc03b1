package proxy

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// ask finds out where the client wants to go, in one of four ways: its listener has a fixed
// peer; the system redirected it; it says so in SOCKS5; or it speaks v1 at once, and its
// VERSION says whom it takes the proxy for.
func (s *session) ask() (*socks.Request, error) {
	auth, refused := s.admission()
	switch {
	case s.about.isSOCKS():
	case refused != nil:
		return nil, refused
	case s.about.transparent != nil:
		return s.askSystem()
	default:
		dest, err := socks.ParseAddr(s.about.peer)
		return &socks.Request{Command: socks.CommandConnect, Dest: dest}, err
	}
	negotiation := s.policy.Socks
	until := time.Now().Add(s.server.firstBytesTimeout())
	short := auth && s.public || refused != nil
	if short {
		until = time.Now().Add(authTimeout)
	}
	s.client.SetReadDeadline(until)
	first, err := s.in.Peek(1)
	if isTimeout(err) {
		return nil, &socks.NegotiationError{Stage: socks.StageGreeting, Err: err}
	}
	socks5 := err == nil && first[0] == socks.Version
	if err == nil && !socks5 {
		if magic, v1, err := v1v2.Classify(s.in); err == nil && v1 {
			if refused != nil {
				return nil, refused
			}
			return s.askVersion(magic, auth)
		}
	}
	if refused != nil {
		if socks5 {
			s.client.Write(socks.NoAcceptableMethods)
			s.linger(rejectLinger)
		}
		return nil, refused
	}
	if !auth {
		negotiation.Auth = nil
	}
	if short {
		negotiation.Timeout = max(min(cmp.Or(negotiation.Timeout, authTimeout), time.Until(until)), time.Millisecond)
	}
	request, err := negotiation.Negotiate(s.client, s.in)
	var failed *socks.NegotiationError
	if errors.As(err, &failed) && (failed.Reply != socks.Succeeded || failed.Stage == socks.StageAuth) {
		s.linger(rejectLinger)
	}
	if err == nil && s.policy.Socks.Auth != nil {
		request.Credentials = socks.Credentials{} // they may be this proxy's own
	}
	return request, err
}

// admission reports whether the client needs the password, or returns an error if it is
// not admitted at all. A public listener admits Policy.Clients without, and others with it.
func (s *session) admission() (auth bool, err error) {
	p := s.policy
	if !s.public || len(p.Clients) == 0 && (p.Socks.Auth == nil || s.about.isSOCKS()) {
		return p.Socks.Auth != nil, nil
	}
	err = p.Clients.Check(s.client.RemoteAddr())
	if err != nil && p.Socks.Auth != nil && s.about.isSOCKS() {
		return true, nil
	}
	return false, err
}

// Where VERSION has addr_recv's address and port, from the message's start, and
// how much of it must be there.
const (
	recvIP   = v1v2.HeaderSize + 4 + 8 + 8 + 8
	recvPort = recvIP + 16
	recvEnd  = recvPort + 2
)

// NoDestinationError reports a client without SOCKS whose VERSION names no destination.
type NoDestinationError struct {
	addr netip.AddrPort // what it names; zero if it is too short
	why  string
}

func (e *NoDestinationError) Error() string {
	if !e.addr.IsValid() {
		return "the client speaks v1 without SOCKS, and " + e.why
	}
	return fmt.Sprintf("the client speaks v1 without SOCKS, and the address in its VERSION, %v, %s", e.addr, e.why)
}

// askVersion reads the destination from the client's VERSION and leaves that in
// the buffer. The address is the sender's own idea of whom it speaks to, so a
// client must be made to put its peer's there.
func (s *session) askVersion(magic [4]byte, auth bool) (*socks.Request, error) {
	s.show(func(info *SessionInfo) { info.Network = transport.NetworkName(magic) })
	if auth {
		return nil, &NoDestinationError{why: "this proxy asks for a user name and password"}
	}
	head, err := s.in.Peek(v1v2.HeaderSize)
	if err != nil {
		return nil, &v1v2.EndError{Side: v1v2.ClientSide, Err: err}
	}
	if n := binary.LittleEndian.Uint32(head[16:]); n < recvEnd-v1v2.HeaderSize {
		return nil, &NoDestinationError{why: fmt.Sprintf("its VERSION is too short for an address (%d bytes)", n)}
	}
	b, err := s.in.Peek(recvEnd)
	if err != nil {
		return nil, &v1v2.EndError{Side: v1v2.ClientSide, Err: err}
	}
	ip := netip.AddrFrom16([16]byte(b[recvIP:])).Unmap()
	addr := netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[recvPort:]))
	switch {
	case ip.IsUnspecified() || addr.Port() == 0:
		return nil, &NoDestinationError{addr, "is not a valid destination"}
	case ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return nil, &NoDestinationError{addr, "is not a single host's"}
	case s.server.listensOn(net.TCPAddrFromAddrPort(addr)):
		return nil, &NoDestinationError{addr, "is the proxy's own"}
	}
	return &socks.Request{
		Command: socks.CommandConnect,
		Dest:    socks.Addr{Host: ip.String(), IP: ip, Port: addr.Port()},
	}, nil
}
