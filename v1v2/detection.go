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
// returns v2, or v1: a connection on which nothing was sent. If it fails it leaves no
// connection open.
//
// magic is that of the network. first, if not nil, is the first message as the contents of
// a v2 packet, which Decide sends to a v2 peer (transport.Config.First). ctx ends when the
// Conn is closed, even long after Decide has returned, or when the context of Handshake
// ends. Most programs do not need this.
type Decide func(ctx context.Context, magic [4]byte, first []byte) (v2 *transport.Conn, v1 net.Conn, err error)

// Later returns a Conn on nc, a new connection, that calls decide once: in Handshake, or
// when the first message was written, a VERSION, which names the network. Until then nothing
// is sent, and Read waits. The Write of the first message waits for decide. If decide fails,
// the connection is closed, and all calls return its error.
//
// Most programs do not need this: fallback.Dialer calls it.
func Later(nc net.Conn, decide Decide) *Conn {
	c := newConn(nc)
	c.decide, c.decided = decide, make(chan struct{})
	return c
}

// link is the connection to the peer once the protocol is decided.
type link interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// detection is what a Conn knows of the protocol that its peer speaks.
type detection struct {
	decide  Decide        // nil if the protocol was known from the start
	decided chan struct{} // closed once magic and either peer, plain or failure are set

	magic   [4]byte
	peer    *transport.Conn
	plain   net.Conn
	failure error

	mu     sync.Mutex
	nc     net.Conn                // the connection underneath
	cancel context.CancelCauseFunc // of decide; nil before it begins
	ended  bool                    // nc is closed
}

// link returns the connection to the peer, or nil. c.mu is held, or decided closed.
func (d *detection) link() link {
	switch {
	case d.peer != nil:
		return d.peer
	case d.plain != nil:
		return d.plain
	}
	return nil
}

// open reports whether the protocol is decided and the connection to the peer is open.
func (d *detection) open() bool { return isDone(d.decided) && d.failure == nil }

var errBegun = errors.New("the handshake has begun")

// Handshake decides at once what to speak on the network with the given magic. ctx limits
// that, not the connection. On failure the connection is closed. It is for a Conn of Later
// before its first message; on any other it returns an error and does nothing. Most
// programs do not need this: fallback.Dialer calls it.
func (c *Conn) Handshake(ctx context.Context, magic [4]byte) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	if !c.begun(cancel) {
		return errBegun
	}
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	c.settle(own, magic, nil, func() error {
		if stop() {
			return nil
		}
		return context.Cause(ctx)
	})
	return c.where(c.failure)
}

// begun notes that the protocol is being decided, which cancel gives up. It returns false
// if it was noted before.
func (c *Conn) begun(cancel context.CancelCauseFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.decide == nil || c.cancel != nil {
		return false
	}
	c.cancel = cancel
	if c.isClosed() {
		cancel(net.ErrClosed)
	}
	return true
}

// firstMessage is a message that was copied.
type firstMessage struct {
	t       Type
	payload []byte
}

// settle calls decide, sends first if decide has not, and closes decided. first may be nil.
// givenUp is called after decide: its error counts.
func (c *Conn) settle(ctx context.Context, magic [4]byte, first *firstMessage, givenUp func() error) {
	defer close(c.decided)
	var contents []byte
	if first != nil {
		contents = AppendContents(nil, first.t, first.payload)
	}
	peer, plain, err := c.decide(ctx, magic, contents)
	if late := givenUp(); err == nil {
		err = c.take(ctx, late, magic, peer, plain)
	}
	switch {
	case err != nil:
		c.fail(err)
	case first == nil:
	case peer != nil:
		c.noteVersion(first.t, first.payload)
		c.Sent.Add(first.t, HeaderSize+len(first.payload))
	default:
		if err := c.sendPlain(AppendMessage(nil, magic, first.t, first.payload)); err != nil {
			c.fail(err)
		}
	}
}

// take takes the connection that was decided on, with the deadlines set so far, unless late
// is an error or the Conn was closed meanwhile.
func (c *Conn) take(ctx context.Context, late error, magic [4]byte, peer *transport.Conn, plain net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if late == nil {
		late = context.Cause(ctx)
	}
	switch {
	case late != nil && peer != nil:
		peer.Close()
		peer.Wipe()
		return late
	case late != nil:
		plain.Close()
		return late
	}
	c.magic, c.peer, c.plain, c.nc = magic, peer, plain, plain
	if peer != nil {
		c.nc = peer.NetConn()
	}
	if at := c.reads.get(); !at.IsZero() {
		c.link().SetReadDeadline(at)
	}
	if at := c.writes.get(); !at.IsZero() {
		c.link().SetWriteDeadline(at)
	}
	return nil
}

// sendPlain sends a message in v1, or keeps what the deadline leaves of it for the next
// Write.
func (c *Conn) sendPlain(raw []byte) error {
	n, err := c.plain.Write(raw)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.out.rest, err = raw[n:], nil
	}
	return err
}

// fail makes all calls fail with err, and closes the connection.
func (c *Conn) fail(err error) {
	c.failure = err
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc.Close() // perhaps again
	c.ended = true
}

// abandon closes the connection, whatever is decided.
func (d *detection) abandon() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel(net.ErrClosed)
	}
	switch {
	case d.ended:
		return nil
	case d.peer != nil:
		return d.peer.Close()
	}
	return d.nc.Close()
}

// await waits until the protocol is decided, or for the deadline.
func (c *Conn) await(d *deadline) error {
	if !isDone(c.decided) {
		if err := c.wait(c.decided, d); err != nil {
			return err
		}
	}
	return c.where(c.failure)
}

// settled reports whether the protocol is decided, and waits for it, until the deadline of
// writes, once that has begun.
func (c *Conn) settled() (bool, error) {
	if !isDone(c.decided) {
		c.mu.Lock()
		begun := c.cancel != nil
		c.mu.Unlock()
		if !begun {
			return false, nil
		}
	}
	err := c.await(&c.writes)
	return err == nil, err
}
