// Package proxy is the server: it accepts SOCKS clients, connects them to their
// destinations, and translates between v1 clients and v2 peers.
//
//	accept → ask → dial → grant → peek → upgrade → bridge → close
//
// is the story of a session, told by session.settle. [Server] owns what is around it: the
// accept loop and the live sessions.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/plain"
	"bip324proxy/transport"
)

// Server is the proxy. It serves any number of listeners. Set its fields before Serve and
// not later; the zero value of each is the default.
type Server struct {
	// Policy is the initial policy; see SetPolicy.
	Policy

	// FirstBytesTimeout limits the wait for a client's first bytes once its connection
	// is granted. Zero means 60 s.
	FirstBytesTimeout time.Duration

	// IdleTimeout ends a session when its client or its peer sends nothing, or takes
	// nothing that is sent to it, for so long; a passthrough when neither sends
	// anything. Zero means 30 minutes, more than the 20 of Bitcoin Core.
	IdleTimeout time.Duration

	// LingerTimeout is how long one direction of a session may go on when the
	// other has ended. Zero means 30 s.
	LingerTimeout time.Duration

	// AckTimeout ends a session when one end acknowledges nothing of what was sent to it
	// for so long, or up to two thirds more: the host or the path to it is gone. An end
	// that acknowledges probes of its closed window has IdleTimeout. Zero means 3
	// minutes. It works on Linux only; elsewhere the system's timeout applies.
	AckTimeout time.Duration

	// MessageMemory limits the memory, in bytes, of messages of over 16 KiB that are
	// being relayed, of all sessions together. When it is used up, sessions wait for it in
	// turn. Zero means 128 MiB; it should be several times the largest message, 4 MB.
	MessageMemory int

	// MaxSessions limits the sessions at a time. A client beyond it gets the SOCKS reply
	// for a general failure. Zero means DefaultMaxSessions(0).
	MaxSessions int

	// MaxHandshakes limits the v2 handshakes that compute at a time; others wait for
	// their turn, within their deadline. Zero means the number of processors.
	MaxHandshakes int

	// ClientRate limits the connections a second from one address to a listener that is
	// open to other hosts; five seconds' worth may come at once. Zero means 20.
	ClientRate int

	// Hint returns what the user can do about a failure, in the words of the program that
	// has the server, or nothing. The log and the Snapshot have it. Nil means no hints.
	Hint func(Failure) string

	// Log takes one line when a session opens and one when it ends. Nil means
	// slog.Default().
	Log *slog.Logger

	replaced atomic.Pointer[Policy] // by SetPolicy

	mu        sync.Mutex
	init      bool
	began     time.Time
	tally     tally
	ctx       context.Context // of all sessions' dials and handshakes
	cancel    context.CancelFunc
	listeners map[net.Listener]string // to the peer of ServePeer, or ""
	sessions  map[*session]struct{}
	memory    *transport.Memory
	number    uint64        // of the last session
	max       int           // sessions
	refusing  int           // sessions that only tell their client of its refusal
	turns     chan struct{} // semaphore of handshakes that compute
	clients   clientRates
	waiting   waiting
	leaving   map[*session]struct{}  // evicted sessions that have not ended
	acks      *time.Timer            // of watchAcks; nil while there are no sessions
	stuck     map[net.Conn]time.Time // watchAcks's: since when nothing was acknowledged
	stopping  bool                   // no more clients are accepted
	ending    bool                   // sessions are interrupted
	running   sync.WaitGroup         // accept loops and sessions

	folded foldedLog
}

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("proxy: server closed")

// Serve accepts clients on l until Shutdown, Close or a permanent error. It closes l. The
// error is never nil.
func (s *Server) Serve(l net.Listener) error { return s.ServePeer(l, "") }

// ServePeer is like Serve, but connects all clients to peer, "host:port", without SOCKS.
func (s *Server) ServePeer(l net.Listener, peer string) error {
	defer l.Close()
	if !s.addListener(l, peer) {
		return ErrServerClosed
	}
	defer s.running.Done()
	defer s.removeListener(l)
	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			if tell := s.start(conn, peer, !listen.IsLocal(l.Addr())); tell != nil {
				tell()
			}
			continue
		}
		switch _, stopping := s.Accepting(); {
		case stopping:
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed), listen.IsOver(err):
			return err
		}
		// Out of descriptors, most likely, until sessions end.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		address := l.Addr().String()
		s.logFolded("cannot accept on "+address, slog.LevelError, nil, "cannot accept a connection; trying again",
			"listener", address, "err", plain.Words(err))
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
}

// Shutdown stops accepting and waits until all sessions have ended. If ctx ends first it
// interrupts them, closes those that do not end in time, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	ended := s.ended()
	defer s.folded.tellAll()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.Interrupt()
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		s.Close()
		<-ended
	}
	return ctx.Err()
}

// Close stops accepting, closes all sessions and waits, for half a second at most, until
// they have ended.
func (s *Server) Close() {
	s.stopAccepting()
	s.Interrupt()
	for _, sess := range s.live() {
		sess.close()
	}
	select {
	case <-s.ended():
	case <-time.After(closeTimeout):
	}
	s.folded.tellAll()
}

// ended returns a channel that is closed when all accept loops and sessions have ended,
// and each has its line in the log.
func (s *Server) ended() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	return ended
}

// Interrupt ends open sessions after the present message, and others at once. When it
// returns it is known of all their peers what they speak.
func (s *Server) Interrupt() {
	s.mu.Lock()
	s.setup()
	s.ending = true
	s.mu.Unlock()
	for _, sess := range s.live() {
		sess.interrupt()
	}
	s.cancel()
}

func (s *Server) setup() { // s.mu is held
	if s.init {
		return
	}
	s.init = true
	if s.replaced.Load() == nil {
		s.SetPolicy(s.Policy)
	}
	s.began, s.tally = time.Now(), newTally()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.listeners = make(map[net.Listener]string)
	s.sessions = make(map[*session]struct{})
	s.memory = transport.NewMemory(cmp.Or(s.MessageMemory, 128<<20))
	s.max = cmp.Or(s.MaxSessions, DefaultMaxSessions(0))
	s.waiting, s.leaving = newWaiting(s.max), make(map[*session]struct{})
	s.turns = make(chan struct{}, cmp.Or(s.MaxHandshakes, runtime.GOMAXPROCS(0)))
	s.clients = newClientRates(cmp.Or(s.ClientRate, 20))
}

func (s *Server) addListener(l net.Listener, peer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setup()
	if s.stopping {
		return false
	}
	s.listeners[l] = peer
	s.running.Add(1)
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// listensOn reports whether the server listens on addr.
func (s *Server) listensOn(addr net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		if l.Addr().String() == addr.String() || onAllAddresses(l.Addr(), addr) {
			return true
		}
	}
	return false
}

// listensAt reports whether the server listens on the unix socket at path, under this name
// or another.
func (s *Server) listensAt(path string) bool {
	socket, err := os.Stat(path)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		if a, ok := l.Addr().(*net.UnixAddr); ok {
			if own, err := os.Stat(a.Name); err == nil && os.SameFile(own, socket) {
				return true
			}
		}
	}
	return false
}

// onAllAddresses reports whether l is the unspecified address and addr one of this host.
func onAllAddresses(l, addr net.Addr) bool {
	all, ok1 := l.(*net.TCPAddr)
	one, ok2 := addr.(*net.TCPAddr)
	if !ok1 || !ok2 || !all.IP.IsUnspecified() || all.Port != one.Port {
		return false
	}
	if one.IP.IsLoopback() || one.IP.IsUnspecified() {
		return true
	}
	own, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(one.IP)
	})
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	s.setup()
	s.stopping = true
	all := slices.Collect(maps.Keys(s.listeners))
	s.mu.Unlock()
	for _, l := range all { // without s.mu: it may wait for a file system
		l.Close()
	}
}

// start starts a session for conn if it is admitted. A client that was accepted just
// before stopAccepting is still served. tell, if not nil, logs what happened; it must be
// called without s.mu, for a log may be slow.
func (s *Server) start(conn net.Conn, peer string, public bool) (tell func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		conn.Close()
		return nil
	}
	ok, tell, refusal := s.admit(conn, public)
	if !ok {
		s.tally.refused[refusalOf(refusal).kind]++
		conn.Close()
		return tell
	}
	s.number++
	sess := newSession(s, conn, peer, public, s.number)
	s.sessions[sess] = struct{}{}
	if s.acks == nil {
		s.acks = time.AfterFunc(s.ackTimeout()/3, s.watchAcks)
	}
	if refusal != nil {
		s.refusing++
		sess.refusal = refusal
		sess.after(refuseTimeout, func() { sess.fail(refusal) })
	} else if public {
		s.waiting.add(sess)
	}
	s.running.Go(func() {
		err := sess.cause(sess.serve(s.ctx))
		outcome := sess.outcomeOf(err)
		s.remove(sess, outcome)
		sess.logOutcome(outcome, err)
	})
	return tell
}

// remove takes an ended session off the live set and counts it.
func (s *Server) remove(sess *session, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sess)
	delete(s.leaving, sess)
	s.waiting.remove(sess)
	sess.addDropped(s.tally.dropped)
	if sess.opened() || o.Kind != "" { // else a question was answered
		s.tally.add(o, sess.info().Traffic)
	}
	if sess.refusal != nil {
		s.refusing--
	}
}

// count updates the counts.
func (s *Server) count(add func(*tally)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.tally)
}

func (s *Server) live() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.sessions))
}

func (s *Server) log() *slog.Logger { return cmp.Or(s.Log, slog.Default()) }
