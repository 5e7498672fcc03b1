package fallback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"bip324proxy/transport"
)

// Mode says when a peer that does not speak v2 may be spoken to in v1,
// which is plaintext.
type Mode int

const (
	// Never keeps plaintext off the wire, always. It is the default.
	Never Mode = iota
	// Overlay allows v1 where the network below encrypts by itself, as
	// Dialer.Overlay says.
	Overlay
	// Always allows v1 to every peer that is not known to speak v2.
	Always
)

// ParseMode reads never, overlay or always.
func ParseMode(s string) (Mode, error) {
	for m := Never; m <= Always; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%q is none of never, overlay and always", s)
}

func (m Mode) String() string {
	switch m {
	case Never:
		return "never"
	case Overlay:
		return "overlay"
	case Always:
		return "always"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// minSent is how much of a v2 handshake a v1 peer must have been sent to know
// that it is no v1 header: the header's size (Bitcoin Core, ShouldReconnectV1).
const minSent = 24

// Dialer opens connections to peers and takes the one decision between v2 and
// v1. Its zero value dials directly, never falls back and remembers nothing.
type Dialer struct {
	// Dial opens a connection. Nil means net.Dialer's DialContext, without TCP
	// keepalive: Bitcoin Core's connections have none.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Direct says that connections of Dial lead to the peer itself, so that their
	// RemoteAddr is the peer's address. Where Dial goes through a proxy it must be
	// false. It is taken to be true where Dial is nil.
	Direct bool

	// Resolve finds the addresses of a name. Dial is then given one of them, and
	// another when the one connected to fails its v2 handshake. With Dial set, nil
	// leaves names to Dial: where Dial goes through a proxy Resolve must be nil,
	// for the names are the proxy's to resolve. Otherwise nil means the system's
	// resolver, and that no other address is tried after a failed handshake.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Fallback says where v1 may be spoken.
	Mode Mode

	// Overlay returns nil if the network below encrypts by itself all the way from
	// this machine to host, as Tor's and CJDNS do, or else why it does not count. The
	// connection to host reached via, which is a proxy's address where Dial goes
	// through one. It is called only when v1 is about to be spoken, and may ask
	// others. Nil means that no host's network does.
	Overlay func(ctx context.Context, host string, via net.Addr) error

	// Peers remembers what peers speak, by what was asked for and, where that is
	// known, by the address reached. Nil remembers nothing.
	Peers *Peers

	// DialTimeout limits one attempt to connect, to all of a name's addresses
	// together, once they are known. Zero means 5 s, as in Bitcoin Core.
	DialTimeout time.Duration

	// HandshakeTimeout limits one v2 handshake. Zero means 60 s, as in Bitcoin Core.
	HandshakeTimeout time.Duration

	// FirstByteTimeout is how long a peer that was never seen may take to
	// answer before it counts as one that speaks v1 only. It matters only where
	// Fallback allows v1. Zero means 3 s.
	FirstByteTimeout time.Duration

	// RetryAfter is how long to wait before a second v2 handshake with a peer that hung
	// up on the first, where otherwise v1 would follow. Zero means a random time from
	// 1 to 2 s.
	RetryAfter time.Duration
}

// Link is a connection on which it is settled what to speak: V2, or the bare
// connection V1, on which nothing has been sent. If the peer then answers in v1,
// call Dialer.NoteV1: hanging up alone does not prove that it speaks v1, for a
// full node does that, too. When a session in V2 ends, call Dialer.NoteV2.
type Link struct {
	V2 *transport.Conn
	V1 net.Conn

	// Overlay says, of V1, that the network below encrypts (Dialer.Overlay).
	Overlay bool

	// Cause is why V1 was chosen: the last v2 handshake that failed, behind ErrRefusedV2
	// if there was no other of this session; ErrV1Peer; or ErrKnownV1.
	Cause error
}

// Why v2 was not tried, or not at once.
var (
	// ErrKnownV1 says that the peer is known to speak v1.
	ErrKnownV1 = errors.New("the peer is known to speak v1 only")

	// ErrRefusedV2 says that the peer has just hung up on somebody else's v2
	// handshake (NoteFailed).
	ErrRefusedV2 = errors.New("the peer has just hung up on a v2 handshake")
)

// Upgrade performs the v2 handshake as the initiator on nc, a fresh connection
// to addr. If the peer turns out not to speak v2, and only then, and where
// Fallback allows it, Upgrade connects once more, to the same address, for v1:
//
//	what happened                                          fall back?
//	addr, or an address of it, proven v2 before            no
//	a v1 VERSION header of the network received            yes
//	any other byte received, any fault in it               no
//	our deadline for the whole handshake, our own stop     no
//	fewer than 24 bytes sent                               no
//	hung up, not one byte received                         yes, if a second v2 handshake fails, too
//	silent past FirstByteTimeout, peer never seen          yes
//
// A peer that hung up may only have been busy. So v2 is tried once more, on a new
// connection after RetryAfter, and the table applies to what happens then, but for
// another retry.
//
// Where Fallback allows v1, v2 is not tried with an address that is known to speak v1,
// unless cfg.Received says otherwise, and after RetryAfter only with one that has just
// hung up on somebody else. A peer that has sent a VERSION header by then is not even
// dialled again.
//
// Where addr has a name with several addresses, v2 is tried with up to four of
// them before anything else (see Resolve), those proven v2 first.
//
// On failure nc is closed; the error of a handshake is a *HandshakeError, that of
// the connection for v1 a *RedialError, and an *OverlayError says that Overlay
// would have allowed v1, but for the network.
func (d *Dialer) Upgrade(ctx context.Context, nc net.Conn, addr string, cfg transport.Config) (Link, error) {
	began := time.Now()
	others, proven := d.otherAddresses(ctx, addr, nc)
	var known error
	var overlay bool
	mayV1 := !proven && d.mayFallBack(addr, nc)
	if mayV1 {
		if known = d.knownV1(addr, nc, &cfg); known != nil {
			var why error
			if overlay, why = d.inOverlay(ctx, addr, nc); why != nil {
				known = nil // so it is v2 or nothing
			}
		}
		cfg.FirstByteTimeout = cmp.Or(d.FirstByteTimeout, 3*time.Second)
	}
	conn, err := d.shakeHands(ctx, nc, known, others, cfg)
	if err == nil {
		if known != nil {
			nc.Close()
		}
		d.NoteV2(addr, conn.NetConn())
		return Link{V2: conn}, nil
	}
	fail := func(err error, conns ...net.Conn) (Link, error) {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
		var failed *transport.HandshakeError
		if errors.As(err, &failed) {
			failed.ProvenV2 = proven || d.provenV2(addr, append(conns, nc)...)
		}
		return Link{}, err
	}
	switch {
	case known != nil && ctx.Err() != nil:
		return fail(context.Cause(ctx), nc)
	case !mayV1 || !isV1(err) || !d.mayFallBack(addr, nc): // it may have been proven v2 in the meantime
		return fail(err, nc)
	case known == nil:
		var why error
		if overlay, why = d.inOverlay(ctx, addr, nc); why != nil {
			return fail(&OverlayError{Err: why, First: err})
		}
	case known != ErrRefusedV2:
		return Link{V1: nc, Overlay: overlay, Cause: known}, nil
	default:
		nc.Close()
	}
	again := cmp.Or(d.reached(nc), addr) // its other addresses have had their turn
	if isHungUp(err) {
		conn, retried, second := d.retry(ctx, again, began, err, cfg)
		if second == nil {
			d.NoteV2(addr, conn.NetConn())
			return Link{V2: conn}, nil
		}
		if !isV1(second) || !d.mayFallBack(addr, nc, retried) {
			return fail(second, retried)
		}
		if err == ErrRefusedV2 {
			second = fmt.Errorf("%w; then: %w", err, second)
		}
		err = second
	}
	v1, dialErr := d.Connect(ctx, again)
	if dialErr != nil {
		return Link{}, &RedialError{Addr: addr, Err: dialErr, First: err}
	}
	if !d.mayFallBack(addr, nc, v1) { // it may have been proven v2 while this was dialled, or leads to a peer that is
		return fail(err, v1)
	}
	return Link{V1: v1, Overlay: overlay, Cause: err}, nil
}

// inOverlay returns whether the network that nc, the connection to addr, goes through
// encrypts by itself. The error says why v1 may not be spoken because it does not.
func (d *Dialer) inOverlay(ctx context.Context, addr string, nc net.Conn) (bool, error) {
	err := errNoOverlay
	if host, _, splitErr := net.SplitHostPort(addr); splitErr == nil && d.Overlay != nil {
		err = d.Overlay(ctx, host, nc.RemoteAddr())
	}
	if d.Mode == Overlay {
		return err == nil, err
	}
	return err == nil, nil
}

var errNoOverlay = errors.New("its network does not encrypt")

// shakeHands performs the v2 handshake on nc, unless known says why it is not to
// be tried there, and, if that fails, with the others, addresses of the same name.
// The error is known, that of nc, or of the first that failed unlike a v1 peer:
// one of them is enough to rule out v1 for the name.
func (d *Dialer) shakeHands(ctx context.Context, nc net.Conn, known error, others []string, cfg transport.Config) (conn *transport.Conn, failed error) {
	began := time.Now()
	if failed = known; known == nil {
		conn, failed = d.client(ctx, nc, cfg, len(others) > 0)
	}
	cfg.Received = nil // it was nc's
	left := maxAddresses - 1
	for i, other := range others {
		if failed == nil || ctx.Err() != nil || left == 0 || time.Since(began) > tryNextWithin {
			break
		}
		nc, err := d.Connect(ctx, other)
		if err != nil { // it may be of a family that leads nowhere
			continue
		}
		left--
		if conn, err = d.client(ctx, nc, cfg, left > 0 && i < len(others)-1); err == nil {
			return conn, nil
		}
		if isV1(failed) && !isV1(err) {
			failed = err
		}
	}
	return conn, failed
}

// client performs one handshake. If others wait for their turn, silence is given
// up on sooner.
func (d *Dialer) client(ctx context.Context, nc net.Conn, cfg transport.Config, more bool) (*transport.Conn, error) {
	if more && cfg.FirstByteTimeout == 0 {
		cfg.FirstByteTimeout = cmp.Or(d.FirstByteTimeout, 3*time.Second)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.HandshakeTimeout, time.Minute))
	defer cancel()
	return transport.Client(ctx, nc, cfg)
}

const (
	// maxAddresses is how many of a name's addresses are connected to.
	maxAddresses = 4

	// tryNextWithin is how long after the first attempt another may begin: most
	// clients have given up by then.
	tryNextWithin = 10 * time.Second
)
