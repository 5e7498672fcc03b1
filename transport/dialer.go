package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Fallback says where a peer that does not speak v2 may be spoken to in v1,
// which is plaintext.
type Fallback int

const (
	// FallbackNever keeps plaintext off the wire, always. It is the default.
	FallbackNever Fallback = iota
	// FallbackOverlay allows v1 where the network below encrypts by itself:
	// Tor's .onion and CJDNS's fc00::/8.
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

// allows says whether plaintext may be spoken to host.
func (f Fallback) allows(host string) bool {
	switch f {
	case FallbackOverlay:
		return isOverlay(host)
	case FallbackAlways:
		return true
	}
	return false
}

// cjdns is the range of CJDNS addresses.
var cjdns = netip.MustParsePrefix("fc00::/8")

func isOverlay(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return cjdns.Contains(ip)
	}
	return strings.HasSuffix(strings.ToLower(strings.TrimRight(host, ".")), ".onion")
}

// minSent is how much of a v2 handshake a v1 peer must have been sent to know
// that it is no v1 header: the header's size (Bitcoin Core, ShouldReconnectV1).
const minSent = 24

// Dialer opens connections to peers and takes the one decision between v2 and
// v1. Its zero value dials directly, never falls back and remembers nothing.
type Dialer struct {
	// Dial opens a connection. Nil means net.Dialer's DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Fallback says where v1 may be spoken.
	Fallback Fallback

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

	// Cause is why V1 was chosen: the failed handshake, or ErrKnownV1.
	Cause error
}

// ErrKnownV1 says that v2 was not tried because the peer is known to speak v1.
var ErrKnownV1 = errors.New("the peer is known to speak v1 only")

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
//	any byte received, any fault in what was received      no
//	our deadline for the whole handshake, our own stop     no
//	fewer than 24 bytes sent                               no
//	hung up, not one byte received                         yes
//	silent past FirstByteTimeout, peer never seen          yes
//
// On failure nc is closed; the error of a handshake is a *HandshakeError.
func (d *Dialer) Upgrade(ctx context.Context, nc net.Conn, addr string, cfg Config) (Link, error) {
	mayV1 := d.MayFallBack(addr)
	if mayV1 && d.Peers.Lookup(addr) == SpeaksV1 {
		return Link{V1: nc, Cause: ErrKnownV1}, nil
	}
	if mayV1 {
		cfg.FirstByteTimeout = cmp.Or(d.FirstByteTimeout, 3*time.Second)
	}

	hctx, cancel := context.WithTimeout(ctx, cmp.Or(d.HandshakeTimeout, 30*time.Second))
	conn, err := Client(hctx, nc, cfg)
	cancel()
	if err == nil {
		d.Peers.Note(addr, SpeaksV2)
		return Link{V2: conn}, nil
	}
	var failed *HandshakeError
	if !mayV1 || !errors.As(err, &failed) || !speaksNoV2(failed) {
		return Link{}, err
	}
	nc, dialErr := d.Connect(ctx, addr)
	if dialErr != nil {
		return Link{}, fmt.Errorf("no second connection to %s, for v1: %w; the first: %w", addr, dialErr, err)
	}
	return Link{V1: nc, Cause: err}, nil
}

// MayFallBack says whether a failed handshake with addr, "host:port", could lead
// to v1, as things stand.
func (d *Dialer) MayFallBack(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && d.Fallback.allows(host) && d.Peers.Lookup(addr) != SpeaksV2
}

// speaksNoV2 says that a handshake failed the way it does with a v1 peer.
func speaksNoV2(e *HandshakeError) bool {
	return e.Sent >= minSent && e.Received == 0 && (e.HungUp() || errors.Is(e, ErrSilent))
}
