package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

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

	// refuseTimeout is how long a client that is too many may take to hear it.
	refuseTimeout = 2 * time.Second

	// burst is how many seconds' worth of connections a client may make at once.
	burst = 5

	// maxClients is how many client addresses are kept apart.
	maxClients = 10_000
)

var (
	errTooManySessions = errors.New("there are as many sessions as --max-sessions allows")
	errTooOften        = errors.New("the client's address connects too often")
)

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

// clientRates knows how often the clients of each network (see clientNetwork) have
// come of late. It is for one goroutine at a time.
type clientRates struct {
	perSecond int
	of        map[netip.Prefix]*rate.Limiter
}

// allow says whether another connection from addr is in time.
func (r *clientRates) allow(addr net.Addr) bool {
	from := clientNetwork(addr)
	if !from.IsValid() {
		return true
	}
	client := r.of[from]
	if client == nil {
		if len(r.of) >= maxClients {
			clear(r.of) // everybody begins anew
		}
		client = rate.NewLimiter(rate.Limit(r.perSecond), burst*r.perSecond)
		r.of[from] = client
	}
	return client.Allow()
}

// clientNetwork is a client's address, or of IPv6 its /64, which is what one host has.
// It is not valid if the client is none of TCP.
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

// foldedLog writes a line at once, and those that follow within a minute as one
// with their number. Its zero value is ready.
type foldedLog struct {
	mu     sync.Mutex
	quiet  bool // a line was written within the last minute
	folded int  // how many were not
}

const foldFor = time.Minute

// line has write write the line, with what else it is to say.
func (f *foldedLog) line(write func(more ...any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.quiet {
		f.folded++
		return
	}
	write()
	f.quiet = true
	time.AfterFunc(foldFor, func() { f.later(write) })
}

func (f *foldedLog) later(write func(more ...any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.quiet = f.folded > 0; !f.quiet {
		return
	}
	write("again", f.folded, "within", foldFor)
	f.folded = 0
	time.AfterFunc(foldFor, func() { f.later(write) })
}

// admit says whether conn gets a session, be it only to be told why it is refused.
// s.mu is held.
func (s *Server) admit(conn net.Conn, public bool) (ok bool, refusal error) {
	if public && !s.clients.allow(conn.RemoteAddr()) {
		s.folded.rate.line(func(more ...any) {
			s.log().Warn("connection refused", append(append(s.clientAttr(conn),
				"reason", fmt.Sprintf("its address connects more often than %d times a second", s.clients.perSecond),
				"hint", "if it may, run with a higher --client-rate"), more...)...)
		})
		return false, errTooOften
	}
	if len(s.sessions)-s.refusing < s.max {
		return true, nil
	}
	s.folded.sessions.line(func(more ...any) {
		s.log().Warn("session refused", append(append(s.clientAttr(conn), "reason", errTooManySessions.Error(), "sessions", s.max,
			"hint", "if they are all wanted, run with a higher --max-sessions, and a limit of descriptors (ulimit -n) of six times that"), more...)...)
	})
	return s.refusing < maxRefusing(), errTooManySessions
}

// clientAttr is the client, for the log, if that may have it.
func (s *Server) clientAttr(conn net.Conn) []any {
	if s.policy().HideAddresses {
		return nil
	}
	return []any{"client", conn.RemoteAddr().String()}
}
