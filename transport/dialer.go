package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Fallback says where a peer that does not speak v2 may be spoken to in v1,
// which is plaintext.
type Fallback int

const (
	// FallbackNever keeps plaintext off the wire, always. It is the default.
	FallbackNever Fallback = iota
	// FallbackOverlay allows v1 where the network below encrypts by itself, as
	// Dialer.Overlay says.
	FallbackOverlay
	// FallbackAlways allows v1 to every peer that is not known to speak v2.
	FallbackAlways
)

// ParseFallback reads never, overlay or always.
func ParseFallback(s string) (Fallback, error) {
	for f := FallbackNever; f <= FallbackAlways; f++ {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%q is none of never, overlay and always", s)
}

func (f Fallback) String() string {
	switch f {
	case FallbackNever:
		return "never"
	case FallbackOverlay:
		return "overlay"
	case FallbackAlways:
		return "always"
	}
	return fmt.Sprintf("fallback %d", int(f))
}

// minSent is how much of a v2 handshake a v1 peer must have been sent to know
// that it is no v1 header: the header's size (Bitcoin Core, ShouldReconnectV1).
const minSent = 24

// Dialer opens connections to peers and takes the one decision between v2 and
// v1. Its zero value dials directly, never falls back and remembers nothing.
type Dialer struct {
	// Dial opens a connection. Nil means net.Dialer's DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Resolve finds the addresses of a name, so that another can be tried when
	// the one connected to fails its v2 handshake. Nil means none is. Where Dial
	// goes through a proxy it must be nil, for the names are the proxy's to
	// resolve.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Fallback says where v1 may be spoken.
	Fallback Fallback

	// Overlay returns nil if the network below encrypts by itself all the way from
	// this machine to host, as Tor's and CJDNS do, or else why it does not count. The
	// connection to host reached via, which is a proxy's address where Dial goes
	// through one. It is called only when v1 is about to be spoken, and may ask
	// others. Nil means that no host's network does.
	Overlay func(ctx context.Context, host string, via net.Addr) error

	// Peers remembers what peers speak. Nil remembers nothing.
	Peers *Peers

	// DialTimeout limits one attempt to connect. Zero means 5 s, as in Bitcoin
	// Core.
	DialTimeout time.Duration

	// HandshakeTimeout limits one v2 handshake. Zero means 30 s.
	HandshakeTimeout time.Duration

	// FirstByteTimeout is how long a peer that was never seen may take to
	// answer before it counts as one that speaks v1 only. It matters only where
	// Fallback allows v1. Zero means 3 s.
	FirstByteTimeout time.Duration
}

// Link is a connection on which it is settled what to speak: V2, or the bare
// connection V1, on which nothing has been sent. Who then hears the peer answer
// in v1 should say so to the memory, Peers.Note(addr, SpeaksV1): hanging up alone
// does not prove it, for a full node does that, too.
type Link struct {
	V2 *Conn
	V1 net.Conn

	// Overlay says, of V1, that the network below encrypts (Dialer.Overlay).
	Overlay bool

	// Cause is why V1 was chosen: the failed handshake, ErrV1Peer, ErrKnownV1 or
	// ErrRefusedV2.
	Cause error
}

// Why v2 was not tried.
var (
	// ErrKnownV1 says that the peer is known to speak v1.
	ErrKnownV1 = errors.New("the peer is known to speak v1 only")

	// ErrRefusedV2 says that the peer has just hung up on somebody else's v2
	// handshake (NoteFailed).
	ErrRefusedV2 = errors.New("the peer has just hung up on a v2 handshake")
)

// cause is why v2 is not tried with a peer that is known for s, if so.
func (s Speaks) cause() error {
	switch s {
	case SpeaksV1:
		return ErrKnownV1
	case RefusedV2:
		return ErrRefusedV2
	}
	return nil
}

// Connect opens a connection to addr, "host:port".
func (d *Dialer) Connect(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.DialTimeout, 5*time.Second))
	defer cancel()
	if d.Dial != nil {
		return d.Dial(ctx, "tcp", addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// Upgrade performs the v2 handshake as the initiator on nc, a fresh connection
// to addr. If the peer turns out not to speak v2, and only then, and where
// Fallback allows it, Upgrade connects once more, for v1:
//
//	what happened                                          fall back?
//	peer proven v2 before                                  no
//	a v1 VERSION header of the network received            yes
//	any other byte received, any fault in it               no
//	our deadline for the whole handshake, our own stop     no
//	fewer than 24 bytes sent                               no
//	hung up, not one byte received                         yes
//	silent past FirstByteTimeout, peer never seen          yes
//
// Where Fallback allows v1, v2 is not tried at all with a peer that is known to
// speak v1, or that has just refused v2 to somebody else, unless cfg.Received says
// otherwise. A peer that has sent a VERSION header by then is not even dialled again.
//
// Where addr has a name with several addresses, v2 is tried with up to four of
// them before anything else (see Resolve).
//
// On failure nc is closed; the error of a handshake is a *HandshakeError, that of
// the connection for v1 a *RedialError, and an *OverlayError says that FallbackOverlay
// would have allowed v1, but for the network.
func (d *Dialer) Upgrade(ctx context.Context, nc net.Conn, addr string, cfg Config) (Link, error) {
	mayV1 := d.MayFallBack(addr)
	if cause := d.causeOfV1(addr, &cfg); mayV1 && cause != nil {
		if overlay, err := d.inOverlay(ctx, addr, nc); err == nil {
			return Link{V1: nc, Overlay: overlay, Cause: cause}, nil
		}
	}
	if cfg.receivedV1() {
		nc.Close()
		return Link{}, &HandshakeError{Received: len(cfg.Received), Err: ErrV1Peer}
	}
	if mayV1 {
		cfg.FirstByteTimeout = cmp.Or(d.FirstByteTimeout, 3*time.Second)
	}

	conn, err := d.shakeHands(ctx, nc, addr, cfg)
	if err == nil {
		d.Peers.Note(addr, SpeaksV2)
		return Link{V2: conn}, nil
	}
	if !mayV1 || !isV1(err) ||
		!d.MayFallBack(addr) { // it may have been proven v2 in the meantime
		return Link{}, err
	}
	overlay, why := d.inOverlay(ctx, addr, nc)
	if why != nil {
		return Link{}, &OverlayError{Err: why, First: err}
	}
	nc, dialErr := d.Connect(ctx, addr)
	if dialErr != nil {
		return Link{}, &RedialError{Addr: addr, Err: dialErr, First: err}
	}
	return Link{V1: nc, Overlay: overlay, Cause: err}, nil
}

// causeOfV1 returns why v2 need not be tried with a peer that may be spoken to in v1,
// or nil.
func (d *Dialer) causeOfV1(addr string, cfg *Config) error {
	switch {
	case cfg.receivedV1():
		return ErrV1Peer
	case len(cfg.Received) > 0: // so far this is not v1
		return nil
	}
	return d.Peers.Lookup(addr).cause()
}

// inOverlay returns whether the network that nc, the connection to addr, goes through
// encrypts by itself. The error says why v1 may not be spoken because it does not.
func (d *Dialer) inOverlay(ctx context.Context, addr string, nc net.Conn) (bool, error) {
	err := errNoOverlay
	if host, _, splitErr := net.SplitHostPort(addr); splitErr == nil && d.Overlay != nil {
		err = d.Overlay(ctx, host, nc.RemoteAddr())
	}
	if d.Fallback == FallbackOverlay {
		return err == nil, err
	}
	return err == nil, nil
}

var errNoOverlay = errors.New("its network does not encrypt")

// shakeHands performs the v2 handshake on nc and, if that fails, with the other
// addresses that addr's name has. The error is that of nc, or of the first that
// failed unlike a v1 peer: one of them is enough to rule out v1 for the name.
func (d *Dialer) shakeHands(ctx context.Context, nc net.Conn, addr string, cfg Config) (*Conn, error) {
	others := d.otherAddresses(ctx, addr, nc)
	began := time.Now()
	conn, failed := d.client(ctx, nc, cfg, len(others) > 0)
	for i, other := range others {
		if failed == nil || ctx.Err() != nil || time.Since(began) > tryNextWithin {
			break
		}
		nc, err := d.Connect(ctx, other)
		if err != nil {
			continue
		}
		if conn, err = d.client(ctx, nc, cfg, i < len(others)-1); err == nil {
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
func (d *Dialer) client(ctx context.Context, nc net.Conn, cfg Config, more bool) (*Conn, error) {
	if more && cfg.FirstByteTimeout == 0 {
		cfg.FirstByteTimeout = cmp.Or(d.FirstByteTimeout, 3*time.Second)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.HandshakeTimeout, 30*time.Second))
	defer cancel()
	return Client(ctx, nc, cfg)
}

const (
	// maxAddresses is how many of a name's addresses are tried.
	maxAddresses = 4

	// tryNextWithin is how long after the first attempt another may begin: most
	// clients have given up by then.
	tryNextWithin = 10 * time.Second
)

// otherAddresses returns the addresses, "host:port", that addr's name has beside
// the one that nc leads to. Not to find any is no error: there was one.
func (d *Dialer) otherAddresses(ctx context.Context, addr string, nc net.Conn) (others []string) {
	host, port, err := net.SplitHostPort(addr)
	if _, literal := netip.ParseAddr(host); d.Resolve == nil || err != nil || literal == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.DialTimeout, 5*time.Second))
	defer cancel()
	ips, _ := d.Resolve(ctx, host)
	for _, ip := range ips {
		other := net.JoinHostPort(ip.Unmap().String(), port)
		if other != nc.RemoteAddr().String() && len(others) < maxAddresses-1 {
			others = append(others, other)
		}
	}
	return others
}

// MayFallBack says whether a failed handshake with addr, "host:port", could lead
// to v1, as things stand; Overlay is not asked yet.
func (d *Dialer) MayFallBack(addr string) bool {
	allowed := d.Fallback == FallbackAlways || d.Fallback == FallbackOverlay && d.Overlay != nil
	return allowed && d.Peers.Lookup(addr) != SpeaksV2
}

// NoteFailed tells the memory how a v2 handshake with addr ended that somebody
// else performed, such as a client that speaks v2 itself through a proxy. If a
// v1 peer would have ended it so, and only where Fallback allows v1 and the peer
// is not known to speak v2, it is noted as RefusedV2: who then comes back with v1
// gets it, instead of one more v2 handshake that fails the same way.
func (d *Dialer) NoteFailed(addr string, e *HandshakeError) {
	if d.MayFallBack(addr) && isV1(e) {
		d.Peers.Note(addr, RefusedV2)
	}
}

// isV1 says that a handshake failed with err the way it does with a v1 peer.
func isV1(err error) bool {
	var e *HandshakeError
	return errors.As(err, &e) && (errors.Is(e, ErrV1Peer) ||
		e.Sent >= minSent && e.Received == 0 && (e.HungUp() || errors.Is(e, ErrSilent)))
}
