// Package fallback takes the one decision between BIP324 (v2) and plaintext (v1) for
// an outbound connection, and keeps what it knows of peers, so that an attacker who
// cuts connections cannot downgrade a peer that speaks v2.
package fallback

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Mode says when v1, which is plaintext, may be spoken to a peer without v2. A greater
// Mode allows more.
type Mode int

const (
	// Never keeps plaintext off the wire. It is the default.
	Never Mode = iota
	// Overlay allows v1 on networks that encrypt by themselves (see Dialer.Overlay).
	Overlay
	// Always allows v1 to every peer that is not known to speak v2.
	Always
)

var modeNames = map[Mode]string{Never: "never", Overlay: "overlay", Always: "always"}

// ParseMode parses never, overlay or always.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return m, nil
		}
	}
	return Never, fmt.Errorf("%q is invalid; must be never, overlay or always", s)
}

// String returns the mode's name, as ParseMode takes it.
func (m Mode) String() string { return cmp.Or(modeNames[m], fmt.Sprintf("mode %d", int(m))) }

// Dialer opens connections to peers and decides between v2 and v1. Its zero value
// dials directly, never falls back and knows no peers.
type Dialer struct {
	// Dial opens a connection. Nil means net.Dialer's DialContext without TCP
	// keepalive, which Bitcoin Core does not use.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Direct reports that connections of Dial lead to the peer itself, so that their
	// RemoteAddr is the peer's address. It must be false where Dial goes through a
	// proxy. It has no effect if Dial is nil.
	Direct bool

	// Resolve returns the addresses of a name. Dial is then called with one of them,
	// and with another if the v2 handshake fails. It must be nil where Dial goes
	// through a proxy, which resolves names itself. If Dial is nil, too, nil means the
	// system's resolver, and only one address is tried.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Mode says when v1 may be spoken.
	Mode Mode

	// Overlay returns nil if the network encrypts all the way to host, as Tor and
	// CJDNS do, or why it does not count. via is the remote address of the connection
	// to host: the proxy's where Dial goes through one. Overlay is called only when v1
	// is about to be spoken, and may use the network. Nil means that no network
	// encrypts.
	Overlay func(ctx context.Context, host string, via net.Addr) error

	// Peers are the known peers. Nil means that none are.
	Peers *Peers

	// DialTimeout limits connecting to all of a name's addresses together, once they
	// are known. Zero means 5 s, as in Bitcoin Core.
	DialTimeout time.Duration

	// HandshakeTimeout limits one v2 handshake. Zero means 60 s, as in Bitcoin Core.
	HandshakeTimeout time.Duration

	// FirstByteTimeout is how long an unknown peer may be silent before it counts as
	// a v1 peer, where Mode allows v1, or before another of its name's addresses is
	// tried. Zero means 3 s.
	FirstByteTimeout time.Duration

	// RetryAfter is the delay before the second v2 handshake with a peer that hung up
	// on the first, where v1 would follow. Zero means 1 to 2 s, at random.
	RetryAfter time.Duration
}
