package v1v2

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"bip324proxy/transport"
)

// A Decide function performs the v2 handshake with a peer, or decides that v1 is spoken. It
// returns v2, or v1: a connection on which nothing was sent. magic is that of the network,
// and first, if not nil, the first message as the contents of a v2 packet; a v2 peer must
// have been sent it (transport.Config.First). Before the handshake ctx ends if it must be
// given up; it always ends when the Conn is closed.
type Decide func(ctx context.Context, magic [4]byte, first []byte) (v2 *transport.Conn, v1 net.Conn, err error)

// Later returns a Conn on nc, a new connection, that calls decide once: when the first
// message was written, a VERSION, which names the network, or in Handshake. Until then
// nothing is sent, and Read waits. Most programs do not need this: fallback.Dialer calls it.
func Later(nc net.Conn, decide Decide) *Conn {
	c := newConn(nc)
	c.decide, c.decided = decide, make(chan struct{})
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// link is the connection to the peer once the protocol is decided.
type link interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

// detection is what a Conn knows of the protocol that its peer speaks.
type detection struct {
	decide  Decide
	ctx     context.Context // decide's; nil without it
	cancel  context.CancelCauseFunc
	decided chan struct{} // closed once peer, plain or failure is set

	magic   [4]byte
	peer    *transport.Conn
	plain   net.Conn
	failure error

	mu            sync.Mutex
	nc            net.Conn // the connection underneath
	begun         bool     // decide was called
	reads, writes limit    // of waiting for the decision
}

var errBegun = errors.New("the handshake has begun")

// Handshake decides at once what to speak on the network with the given magic. ctx limits
// that, not the connection. On failure the Conn is closed.
func (c *Conn) Handshake(ctx context.Context, magic [4]byte) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	if !c.begin() {
		return errBegun
	}
	stop := context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
	c.settle(magic, nil)
	if stop(); c.failure != nil {
		c.Close()
	}
	return c.failure
}

// begin reports whether the protocol is not decided yet, and the caller has to do it.
func (d *detection) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := !d.begun && d.decide != nil
	d.begun = true
	return first
}

// firstMessage is a message that was copied.
type firstMessage struct {
	t       Type
	payload []byte
}

// settle calls decide, sends first if decide has not, and closes decided. first may be nil.
func (c *Conn) settle(magic [4]byte, first *firstMessage) {
	defer close(c.decided)
	var contents []byte
	if first != nil {
		contents = AppendContents(nil, first.t, first.payload)
	}
	peer, plain, err := c.decide(c.ctx, magic, contents)
	if err == nil {
		err = c.take(magic, peer, plain)
	}
	switch {
	case err != nil || first == nil:
	case peer != nil:
		c.count(first.t, first.payload)
	default:
		_, err = plain.Write(AppendMessage(nil, magic, first.t, first.payload))
	}
	c.failure = err
}

// take takes the connection that was decided on, with the deadlines set so far, unless the
// Conn was closed meanwhile.
func (c *Conn) take(magic [4]byte, peer *transport.Conn, plain net.Conn) error {
	var l link = peer
	if peer == nil {
		l = plain
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := context.Cause(c.ctx); err != nil {
		l.Close()
		return err
	}
	if !c.reads.at.IsZero() {
		l.SetReadDeadline(c.reads.at)
	}
	if !c.writes.at.IsZero() {
		l.SetWriteDeadline(c.writes.at)
	}
	c.magic, c.peer, c.plain, c.nc = magic, peer, plain, plain
	if peer != nil {
		c.nc = peer.NetConn()
	}
	return nil
}

// settled reports whether the protocol is decided, and waits for it, within the deadline of
// writes, once that has begun.
func (c *Conn) settled() (bool, error) {
	select {
	case <-c.decided:
		return true, c.failure
	default:
	}
	c.mu.Lock()
	begun := c.begun
	c.mu.Unlock()
	if !begun {
		return false, nil
	}
	err := c.await(&c.writes)
	return err == nil, err
}

// open reports whether the protocol is decided and the connection to the peer is open.
func (d *detection) open() bool {
	select {
	case <-d.decided:
		return d.failure == nil
	default:
		return false
	}
}

// await waits until the protocol is decided, or for the limit.
func (c *Conn) await(l *limit) error {
	select {
	case <-c.decided:
		return c.failure
	default:
	}
	for {
		c.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		at, changed := l.at, l.changed
		c.mu.Unlock()
		var passed <-chan time.Time
		if !at.IsZero() {
			passed = time.After(time.Until(at))
		}
		select {
		case <-c.decided:
			return c.failure
		case <-passed:
			return os.ErrDeadlineExceeded
		case <-c.ctx.Done(): // closed, or given up in Handshake
			return net.ErrClosed
		case <-changed:
		}
	}
}

// setDeadline sets a deadline of the link by set or, until there is one, of waiting for it.
func (c *Conn) setDeadline(waiting *limit, t time.Time, set func(link, time.Time) error) error {
	if c.use.Load()&1 != 0 {
		return net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting.set(t)
	switch {
	case c.peer != nil:
		return set(c.peer, t)
	case c.plain != nil:
		return set(c.plain, t)
	}
	return nil
}

// abandon closes the connection, whatever is decided.
func (d *detection) abandon() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel(net.ErrClosed)
	}
	d.reads.set(time.Time{})
	d.writes.set(time.Time{})
	if d.peer != nil {
		d.peer.Interrupt() // it may wait for memory
	}
	return d.nc.Close()
}

// limit is a deadline that calls wait for. The lock of its owner guards it.
type limit struct {
	at      time.Time
	changed chan struct{} // closed when at changes
}

func (l *limit) set(t time.Time) {
	l.at = t
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}
