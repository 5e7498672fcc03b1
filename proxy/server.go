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
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/dns"
	"bip324proxy/internal/rates"
	"bip324proxy/internal/transparent"
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

	// InboundSessions limits the sessions of peers at a time, besides MaxSessions. When all
	// are in use a new peer may end another's session: see package inbound. Zero means 125.
	InboundSessions int

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
	dials    transparent.Dials      // what it connects with; on once there is a transparent listener

	mu        sync.Mutex
	init      bool
	began     time.Time
	ctx       context.Context // of all sessions' dials and handshakes
	cancel    context.CancelFunc
	listeners map[net.Listener]listener
	outbound  budget // of clients' sessions
	inbound   budget // of peers' sessions
	gate      *inbound.Gate
	number    uint64     // of the last session
	live      []*session // by number
	refusing  int        // sessions that only tell their client of its refusal
	clients   *rates.Limiters
	waiting   waiting
	leaving   map[*session]struct{}  // evicted sessions that have not ended
	acks      *time.Timer            // of watchAcks; nil while there are no sessions
	stuck     map[net.Conn]time.Time // watchAcks's: since when nothing was acknowledged
	stopping  bool                   // no more clients are accepted
	ending    bool                   // sessions are interrupted
	running   sync.WaitGroup         // accept loops and sessions

	folded foldedLog
	names  dns.Names // that Lookup gave addresses to
}

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("proxy: server closed")

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
	for _, sess := range s.allLive() {
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
	for _, sess := range s.allLive() {
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
	s.began = time.Now()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.listeners = make(map[net.Listener]listener)
	s.outbound = newBudget(cmp.Or(s.MaxSessions, DefaultMaxSessions(0)), transport.NewMemory(cmp.Or(s.MessageMemory, 128<<20)),
		cmp.Or(s.MaxHandshakes, runtime.GOMAXPROCS(0)), RefusalKinds)
	s.inbound = newBudget(cmp.Or(s.InboundSessions, 125), transport.NewReclaimingMemory(inboundMemory), max(runtime.GOMAXPROCS(0)/2, 1), InboundRefusalKinds)
	s.gate = inbound.NewGate(s.inbound.max)
	s.waiting, s.leaving = newWaiting(s.outbound.max), make(map[*session]struct{})
	s.clients = rates.New(float64(s.clientRate()), burst*s.clientRate())
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
func (s *Server) start(conn net.Conn, about listener, public bool) (tell func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if about.transparent != nil {
		resetOnClose(conn, true)
	}
	if s.ending {
		conn.Close()
		return nil
	}
	ok, tell, refusal := s.admit(conn, public)
	if !ok {
		s.outbound.tally.refused[refusalOf(refusal).kind]++
		conn.Close()
		return tell
	}
	s.number++
	sess := newSession(s, conn, about, public, s.number)
	if refusal != nil {
		s.refusing++
		sess.refusal = refusal
		sess.after(refuseTimeout, func() { sess.fail(refusal) })
	} else if public {
		s.waiting.add(sess)
	}
	s.run(sess)
	return tell
}

// run runs a session until it has ended and is logged. s.mu is held.
func (s *Server) run(sess *session) {
	s.add(sess)
	if s.acks == nil {
		s.acks = time.AfterFunc(s.ackTimeout()/3, s.watchAcks)
	}
	s.running.Go(func() { sess.serve(s.ctx, func(err error) { s.end(sess, err) }) })
}

// add puts a session on the live set. Its number must be the highest. s.mu is held.
func (s *Server) add(sess *session) {
	sess.budget.live++
	s.live = append(s.live, sess)
}

// end counts and logs a session that ended with err.
func (s *Server) end(sess *session, err error) {
	err = sess.cause(err)
	if sess.peer != nil {
		sess.peer.place.Leave()
	}
	outcome := sess.outcomeOf(err)
	s.remove(sess, outcome)
	sess.logOutcome(outcome, err)
}

// remove takes an ended session off the live set and counts it.
func (s *Server) remove(sess *session, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tally := &sess.budget.tally
	sess.budget.live--
	at, _ := slices.BinarySearchFunc(s.live, sess, func(a, b *session) int { return cmp.Compare(a.shown.Number, b.shown.Number) })
	s.live = slices.Delete(s.live, at, at+1)
	delete(s.leaving, sess)
	s.waiting.remove(sess)
	sess.addDropped(tally.dropped)
	tally.shaping.add(sess.shapingNow())
	if sess.opened() || o.Kind != "" { // else a question was answered
		tally.add(o, sess.traffic())
	}
	if sess.refusal != nil {
		s.refusing--
	}
}

// count updates the counts of the session's direction.
func (s *session) count(add func(*tally)) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	add(&s.budget.tally)
}

func (s *Server) allLive() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.live)
}

func (s *Server) clientRate() int { return cmp.Or(s.ClientRate, 20) }

func (s *Server) log() *slog.Logger { return cmp.Or(s.Log, slog.Default()) }
