package v1v2

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

// Conn is a net.Conn that speaks v1 to its user and v2 to the peer, or v1 if the peer
// speaks nothing else and the Dialer or Listener allows it. Any goroutine may call its
// methods.
//
// Read returns the peer's messages as a v1 stream. Write takes a v1 stream in pieces of any
// size and sends each message once it is complete; those that one Write completes leave
// together. What Bitcoin Core ignores is dropped and counted, in both directions; what it
// disconnects for is an error of Read or Write, and final.
//
// Deadlines can be set again at any time, and no byte is lost when one passes: Write
// returns how many bytes it has taken, and the next one first sends the rest of a message
// of which a part has left.
type Conn struct {
	// Sent and Received count the messages to and from a peer that speaks v2. A program
	// may replace them before it uses the Conn.
	Sent, Received *Counts

	// Brief makes ReadFrom and WriteTo return ErrBrief when they have relayed what had arrived
	// and would wait for more. A program sets it before it uses the Conn. Most programs do not
	// need this.
	Brief bool

	detection
	in  incoming
	out outgoing
	ids peerIDs

	reads, writes deadline
	closed        chan struct{} // closed by Close
	use           atomic.Int64  // twice the calls in progress, plus 1 once the Conn is closed
	free          sync.Once
}

// ErrBrief means that nothing is left to be relayed for now: see Conn.Brief.
var ErrBrief = errors.New("nothing more has arrived")

// Client performs the v2 handshake as the initiator on nc, a new connection. It is like
// [transport.Client]: on failure nc is closed.
func Client(ctx context.Context, nc net.Conn, cfg transport.Config) (*Conn, error) {
	peer, err := transport.Client(ctx, nc, cfg)
	if err != nil {
		return nil, err
	}
	return NewConn(peer, cfg.Magic), nil
}

// Server performs the v2 handshake as the responder on nc, an accepted connection. It is
// like [transport.Server]: if the peer speaks v1, the error wraps transport.ErrV1Peer.
// [Listener] does that for all connections of a net.Listener.
func Server(ctx context.Context, nc net.Conn, cfg transport.Config) (*Conn, error) {
	peer, err := transport.Server(ctx, nc, cfg)
	if err != nil {
		return nil, err
	}
	return NewConn(peer, cfg.Magic), nil
}

// NewConn returns a Conn to peer, whose handshake is done, on the network with that magic.
// Most programs do not need this: Client and Server call it.
func NewConn(peer *transport.Conn, magic [4]byte) *Conn {
	c := newConn(peer.NetConn())
	c.magic, c.peer, c.decided = magic, peer, done
	return c
}

// newPlainConn returns a Conn to a peer that speaks v1 on nc.
func newPlainConn(nc net.Conn, magic [4]byte) *Conn {
	c := newConn(nc)
	c.magic, c.plain, c.decided = magic, nc, done
	return c
}

func newConn(nc net.Conn) *Conn {
	c := &Conn{Sent: new(Counts), Received: new(Counts), closed: make(chan struct{})}
	c.nc, c.in.turn, c.out.turn = nc, newTurn(), newTurn()
	return c
}

// Transport returns "v2", "v1" or, until that is decided and after it has failed,
// "detecting": the words of Bitcoin Core's getpeerinfo.
func (c *Conn) Transport() string {
	switch {
	case !c.open():
		return "detecting"
	case c.peer != nil:
		return "v2"
	}
	return "v1"
}

// SessionID returns BIP324's session id, and false if the peer does not speak v2 or the
// handshake is not done. If it is the same at both ends, there is no man in the middle. In
// hexadecimal it is the session_id of Bitcoin Core's getpeerinfo.
func (c *Conn) SessionID() (id [32]byte, ok bool) {
	if !c.open() || c.peer == nil {
		return id, false
	}
	return c.peer.SessionID(), true
}

// Shaping returns what transport.Config.Shape has cost so far: zero if the peer does not speak
// v2 or the handshake is not done.
func (c *Conn) Shaping() transport.Shaping {
	if !c.open() || c.peer == nil {
		return transport.Shaping{}
	}
	return c.peer.Shaping()
}

// NetConn returns the connection underneath. Using it breaks the session.
func (c *Conn) NetConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc
}

// LocalAddr returns the local address of the connection underneath.
func (c *Conn) LocalAddr() net.Addr { return c.NetConn().LocalAddr() }

// RemoteAddr returns the remote address of the connection underneath: through a proxy, the
// proxy's.
func (c *Conn) RemoteAddr() net.Addr { return c.NetConn().RemoteAddr() }

// SetDeadline sets the deadlines of reads and writes; see SetReadDeadline and
// SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline makes Read and WriteTo fail with os.ErrDeadlineExceeded at t, also those
// in progress. Zero means never. If the peer speaks v2, transport.Config.ReadTimeout
// applies as well.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.reads, t, link.SetReadDeadline)
}

// SetWriteDeadline is like SetReadDeadline, for Write, ReadFrom, CloseWrite and
// transport.Config.WriteTimeout.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writes, t, link.SetWriteDeadline)
}

// setDeadline sets a deadline of the Conn, and of the link if there is one.
func (c *Conn) setDeadline(d *deadline, t time.Time, set func(link, time.Time) error) error {
	if c.isClosed() {
		return net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d.set(t)
	if l := c.link(); l != nil {
		return c.where(set(l, t))
	}
	return nil
}

// CloseWrite closes the direction to the peer once everything was sent; Read goes on, and
// Write returns io.ErrClosedPipe. A message of which only a part was written is lost. If the
// handshake has not begun, CloseWrite closes the connection, and Read returns io.EOF.
func (c *Conn) CloseWrite() error {
	if err := c.begin(&c.out.turn, &c.writes); err != nil {
		return err
	}
	defer c.end(&c.out.turn)
	switch {
	case c.out.err == io.ErrClosedPipe:
		return nil
	case c.begun(func(error) {}): // nothing was sent, so nothing will be answered
		c.fail(io.EOF)
		close(c.decided)
	default:
		if err := c.await(&c.writes); err != nil {
			return err
		}
		if err := c.closeWrite(); err != nil {
			return c.where(err)
		}
	}
	c.out.err = io.ErrClosedPipe
	return nil
}

func (c *Conn) closeWrite() error {
	if c.peer != nil {
		return c.peer.CloseWrite()
	}
	if _, err := c.writePlain(nil); err != nil {
		return err
	}
	return stream.NewSocket(c.plain).CloseWrite()
}

// Close closes the connection at once. It makes calls in progress fail with net.ErrClosed,
// and zeroes the keys when they have returned. It does not end ReadFrom's wait for its
// source, or WriteTo's for its destination.
func (c *Conn) Close() error {
	for {
		use := c.use.Load()
		if use&1 != 0 {
			return net.ErrClosed
		}
		if c.use.CompareAndSwap(use, use|1) {
			break
		}
	}
	close(c.closed)
	err := c.abandon()
	c.leaveLast(c.use.Load())
	return err
}

func (c *Conn) isClosed() bool { return c.use.Load()&1 != 0 }

// enter begins a call that uses the connection.
func (c *Conn) enter() error {
	if c.use.Add(2)&1 != 0 {
		c.leave()
		return net.ErrClosed
	}
	return nil
}

// leave ends such a call.
func (c *Conn) leave() { c.leaveLast(c.use.Add(-2)) }

// leaveLast frees everything if the Conn is closed and nothing uses it.
func (c *Conn) leaveLast(use int64) {
	if use != 1 {
		return
	}
	c.free.Do(func() {
		c.out.release()
		if c.open() && c.peer != nil {
			c.peer.Release()
			c.peer.Wipe()
		}
	})
}

// begin is enter for a call that needs the turn of a direction.
func (c *Conn) begin(t *turn, d *deadline) error {
	if err := c.enter(); err != nil {
		return err
	}
	if err := c.lock(t, d); err != nil {
		c.leave()
		return err
	}
	return nil
}

// end ends such a call.
func (c *Conn) end(t *turn) {
	t.pass()
	c.leave()
}

// where returns err, or net.ErrClosed if it came of closing the Conn.
func (c *Conn) where(err error) error {
	if err != nil && c.isClosed() {
		return net.ErrClosed
	}
	return err
}
