package v1v2

import (
	"cmp"
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"time"

	"bip324proxy/transport"
)

var (
	// ErrCrowdedOut reports an accepted connection that was closed before its handshake was
	// done, because newer ones needed its place.
	ErrCrowdedOut = errors.New("closed for newer connections: too many handshakes at a time")

	// errNoMagic reports a Listener that does not know its network.
	errNoMagic = errors.New("the Listener's Config has no Magic; set it to the network's message start")
)

// Listener accepts connections of peers that speak v2. Accept returns a *Conn for each one
// whose handshake is done, so that the program behind the Listener speaks v1.
//
// A slow peer does not delay others: handshakes run at the same time, each with a time limit,
// and when there are too many, the oldest of the network (IPv4 /24, IPv6 /48) that has the
// most is closed. Behind an onion service or a proxy all peers are of one network: there an
// attacker who makes MaxHandshakes connections in the time that a handshake takes keeps the
// others out. A connection costs no cryptography before its first bytes show
// that it is not v1. What the peer may do after its handshake is up to the program, which
// should set ReadTimeout, WriteTimeout and Memory in Config, and limit how many Conns it has.
//
// The fields must not be changed once Accept was called.
type Listener struct {
	// Listener accepts the connections. Close closes it.
	net.Listener

	// Config configures the handshakes. Magic is required: a responder cannot learn it from
	// the peer. A zero FirstByteTimeout means 15 seconds, a nil Semaphore one of GOMAXPROCS.
	Config transport.Config

	// AllowV1 makes Accept return peers that speak v1 on this network, in plaintext. Their
	// Transport is "v1", and the timeouts and the Memory in Config do not apply to them. By
	// default they are closed, and nothing is sent to them. Peers that speak v1 on another
	// network are always closed (transport.ErrV1OtherNetwork).
	AllowV1 bool

	// HandshakeTimeout limits each handshake. Zero means 30 seconds.
	HandshakeTimeout time.Duration

	// MaxHandshakes limits the accepted connections that Accept has not returned yet, whether
	// their handshakes are done or not. Zero means 256. Each takes up to 40 KB of memory, a
	// silent one 12 KB. While most of them are done, new ones wait for Accept.
	MaxHandshakes int

	// OnFailure, if not nil, is called for each accepted connection that Accept does not
	// return, unless Close ended it. err is that of transport.Server, such as
	// transport.ErrV1Peer if the peer speaks v1 but must not, or wraps ErrCrowdedOut. Several
	// goroutines call it, and a call that has not returned counts in MaxHandshakes.
	OnFailure func(peer net.Addr, err error)

	init, accept sync.Once
	cfg          transport.Config // with defaults
	ctx          context.Context  // ends when the Listener is closed
	cancel       context.CancelCauseFunc
	accepted     chan accepted
	slots        chan struct{} // has an element for each connection that Accept has not returned
	attempts     attempts
}

// accepted is what Accept returns.
type accepted struct {
	conn *Conn
	err  error
}

// Accept returns the next connection whose handshake is done, a *Conn. Errors are those of
// the Listener underneath; after one Accept can be called again. Once the Listener is closed
// the error wraps net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	if l.Config.Magic == [4]byte{} {
		return nil, errNoMagic
	}
	l.init.Do(l.initialize)
	l.accept.Do(func() { go l.acceptAll() })
	if l.ctx.Err() != nil {
		return nil, l.closedError()
	}
	select {
	case a := <-l.accepted:
		if a.err != nil {
			return nil, a.err
		}
		return a.conn, nil
	case <-l.ctx.Done():
		return nil, l.closedError()
	}
}

func (l *Listener) closedError() error {
	return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
}

// Close closes the Listener underneath and all connections that Accept has not returned.
func (l *Listener) Close() error {
	l.init.Do(l.initialize)
	l.cancel(net.ErrClosed)
	return l.Listener.Close()
}

func (l *Listener) initialize() {
	l.cfg = l.Config
	l.cfg.FirstByteTimeout = cmp.Or(l.cfg.FirstByteTimeout, 15*time.Second)
	if l.cfg.Semaphore == nil {
		l.cfg.Semaphore = make(chan struct{}, runtime.GOMAXPROCS(0))
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.accepted = make(chan accepted)
	l.slots = make(chan struct{}, cmp.Or(max(l.MaxHandshakes, 0), 256))
}

// acceptAll accepts connections and begins their handshakes until the Listener is closed.
func (l *Listener) acceptAll() {
	for l.ctx.Err() == nil {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil:
			l.begin(nc)
		case errors.Is(err, net.ErrClosed):
			l.Close()
		default:
			l.deliver(accepted{err: err})
		}
	}
}

// begin begins the handshake on nc once there is a slot for it.
func (l *Listener) begin(nc net.Conn) {
	select {
	case l.slots <- struct{}{}:
	default:
		if !l.makeRoom() {
			nc.Close()
			return
		}
	}
	ctx, a := l.attempts.add(l.ctx, nc.RemoteAddr())
	go func() {
		defer func() { <-l.slots }()
		conn, err := l.respond(ctx, nc)
		if !l.attempts.remove(a) && err == nil {
			conn.Close()
			err = ErrCrowdedOut
		}
		switch {
		case err == nil:
			if !l.deliver(accepted{conn: conn}) {
				conn.Close()
			}
		case l.OnFailure != nil && l.ctx.Err() == nil:
			l.OnFailure(nc.RemoteAddr(), err)
		}
	}()
}

// makeRoom takes a slot when there is one, and ends another handshake for it if it is the
// peers that are slow. It reports false if the Listener was closed.
func (l *Listener) makeRoom() bool {
	select {
	case l.cfg.Semaphore <- struct{}{}: // those that waited for it have had their turn
		<-l.cfg.Semaphore
	case <-l.ctx.Done():
		return false
	}
	runtime.Gosched()                         // to those for which something has arrived
	if l.attempts.number() > cap(l.slots)/2 { // or it is Accept that is late
		l.attempts.crowdOut()
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// deliver has Accept return a, and reports whether it did.
func (l *Listener) deliver(a accepted) bool {
	select {
	case l.accepted <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}
