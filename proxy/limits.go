package proxy

import (
	"container/list"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"golang.org/x/time/rate"
)

const (
	// sessionDescriptors is the most that a session holds at a time: its two
	// sockets, and a pipe each way when the kernel copies a passthrough.
	sessionDescriptors = 6

	// spareDescriptors are for all else but clients that are being refused: standard
	// files, listeners, the poller, a file being saved.
	spareDescriptors = 12

	// maxSessions is the default of Server.MaxSessions where descriptors are plenty.
	maxSessions = 4096

	// burst is how many seconds' worth of connections a client may make at once.
	burst = 5

	// maxClients is how many client addresses are kept apart.
	maxClients = 10_000
)

// ErrTooManySessions reports a client that came when there were Server.MaxSessions sessions.
var ErrTooManySessions error = plainError("the limit of sessions is reached")

const errTooOften = plainError("the client's address connects too often")

// SessionsForDescriptors is how many sessions this process's limit of descriptors
// is certain to be enough for, where others are needed for what is not the server's.
func SessionsForDescriptors(others int) int {
	return max((descriptorLimit()-spareDescriptors-maxRefusing()-others)/sessionDescriptors, 1)
}

// DefaultMaxSessions is what Server.MaxSessions is if nothing else is said: as many
// as SessionsForDescriptors, at most 4096.
func DefaultMaxSessions(others int) int { return min(SessionsForDescriptors(others), maxSessions) }

// maxRefusing is how many clients that are too many are told so at a time. The
// others are closed without a word.
func maxRefusing() int { return min(max(descriptorLimit()/64, 4), 64) }

// clientRates limits how often the clients of each network (see clientNetwork) may
// connect. It is for one goroutine at a time.
type clientRates struct {
	perSecond int
	known     map[netip.Prefix]*list.Element // of recent
	recent    list.List                      // of *clientRate, the one seen last in front
}

// clientRate is the rate of one network.
type clientRate struct {
	from    netip.Prefix
	limiter *rate.Limiter
}

func newClientRates(perSecond int) clientRates {
	return clientRates{perSecond: perSecond, known: make(map[netip.Prefix]*list.Element)}
}

// allow says whether another connection from addr is in time.
func (r *clientRates) allow(addr net.Addr) bool {
	from := clientNetwork(addr)
	if !from.IsValid() {
		return true
	}
	client := r.known[from]
	if client == nil {
		if len(r.known) >= maxClients {
			r.evict()
		}
		client = r.recent.PushFront(&clientRate{from, rate.NewLimiter(rate.Limit(r.perSecond), burst*r.perSecond)})
		r.known[from] = client
	}
	r.recent.MoveToFront(client)
	return client.Value.(*clientRate).limiter.Allow()
}

// evict forgets a network that has not been seen for long: of the last few the one
// that has most of its burst left, so that others do not give a busy one a new burst.
func (r *clientRates) evict() {
	victim, most := r.recent.Back(), -1.0
	for e, i := victim, 0; e != nil && i < 16; e, i = e.Prev(), i+1 {
		if left := e.Value.(*clientRate).limiter.Tokens(); left > most {
			victim, most = e, left
		}
	}
	delete(r.known, r.recent.Remove(victim).(*clientRate).from)
}

// clientNetwork returns a client's IPv4 address or IPv6 /64, which is what one host has.
// It is invalid if the client has not connected by TCP.
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

// admit reports whether conn gets a session, perhaps only to be told why it is refused.
// tell, if not nil, logs that; the caller, which holds s.mu, calls it without. Clients
// that have not authenticated give way.
func (s *Server) admit(conn net.Conn, public bool) (ok bool, tell func(), refusal error) {
	client := conn.RemoteAddr()
	if public && !s.clients.allow(client) {
		return false, func() {
			reason := fmt.Sprintf("its address connects more often than %d times a second", s.clients.perSecond)
			s.logFolded(&s.folded.rate, slog.LevelWarn, client, "connection refused", append([]any{"reason", reason}, s.hintAttr(errTooOften)...)...)
		}, errTooOften
	}
	if public && s.waiting.from[clientNetwork(client)] >= maxWaitingPerClient {
		return false, func() {
			s.logFolded(&s.folded.waiting, slog.LevelWarn, client, "connection refused",
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
		s.logFolded(&s.folded.sessions, slog.LevelWarn, client, "session refused",
			append([]any{"reason", ErrTooManySessions.Error(), "sessions", s.max}, s.hintAttr(ErrTooManySessions)...)...)
	}, ErrTooManySessions
}
