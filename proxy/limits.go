package proxy

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
)

const (
	// sessionDescriptors is the most that a session uses: two sockets, and a pipe each
	// way when the kernel copies a passthrough.
	sessionDescriptors = 6

	// spareDescriptors are for standard files, listeners, the poller, a file being saved.
	spareDescriptors = 12

	// maxPending is how many peers may be connected without having sent a VERSION.
	maxPending = 64

	// maxSessions limits the default of Server.MaxSessions.
	maxSessions = 4096

	// burst is how many seconds' worth of connections a client may make at once.
	burst = 5
)

// ErrTooManySessions reports a client that came when there were Server.MaxSessions sessions.
var ErrTooManySessions error = plainError("the limit of sessions is reached")

const errTooOften = plainError("the client's address connects too often")

// SessionsForDescriptors returns how many sessions fit into the limit of file descriptors
// if reserved descriptors are kept for others.
func SessionsForDescriptors(reserved int) int {
	return max((descriptorLimit()-spareDescriptors-maxRefusing()-reserved)/sessionDescriptors, 1)
}

// InboundDescriptors returns how many descriptors the sessions of peers use at most.
func InboundDescriptors(sessions int) int { return sessionDescriptors*sessions + maxPending }

// DefaultMaxSessions returns SessionsForDescriptors, at most 4096.
func DefaultMaxSessions(reserved int) int { return min(SessionsForDescriptors(reserved), maxSessions) }

// maxRefusing returns how many clients beyond MaxSessions get a reply at a time. The
// connections of others are closed at once.
func maxRefusing() int { return min(max(descriptorLimit()/64, 4), 64) }

// clientNetwork returns a client's IPv4 address or the /64 of its IPv6 address, which is
// what one host has. It is invalid for clients without TCP.
func clientNetwork(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	network, _ := ip.Prefix(bits)
	return network
}

// admit reports whether conn gets a session, even if only to refuse it with a reply: then
// refusal is not nil. It may evict a waiting session. tell, if not nil, logs what
// happened. s.mu is held; tell must be called without it.
func (s *Server) admit(conn net.Conn, public bool) (ok bool, tell func(), refusal error) {
	client := conn.RemoteAddr()
	if from := clientNetwork(client); public && from.IsValid() && !s.clients.Allow(from) {
		return false, func() {
			reason := fmt.Sprintf("its address connects more often than %d times a second", s.clientRate())
			s.logFolded("rate", slog.LevelWarn, client, "connection refused", append([]any{"reason", reason}, s.hintAttr(errTooOften)...)...)
		}, errTooOften
	}
	if public && s.waiting.from[clientNetwork(client)] >= maxWaitingPerClient {
		return false, func() {
			s.logFolded("waiting", slog.LevelWarn, client, "connection refused",
				"reason", fmt.Sprintf("%d connections of its address have not authenticated", maxWaitingPerClient))
		}, errTooManyWaiting
	}
	if public && len(s.waiting.inOrder) >= s.waiting.max || s.full(public) {
		tell = s.makeRoom()
	}
	if !s.full(public) {
		return true, tell, nil
	}
	return s.refusing < maxRefusing(), func() {
		s.logFolded("sessions", slog.LevelWarn, client, "session refused",
			append([]any{"reason", ErrTooManySessions.Error(), "sessions", s.outbound.max}, s.hintAttr(ErrTooManySessions)...)...)
	}, ErrTooManySessions
}
