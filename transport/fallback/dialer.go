// Package fallback dials Bitcoin peers with BIP324 (v2). A [Dialer] is to BIP324 what
// net.Dialer is to TCP: the program speaks v1 to a net.Conn, as before, and the peer gets
// v2.
//
//	var dialer fallback.Dialer
//	conn, err := dialer.DialContext(ctx, "tcp", "192.0.2.1:8333")
//	if err != nil {
//		return err
//	}
//	defer conn.Close()
//	_, err = conn.Write(version) // a v1 message; the handshake is here
//	...
//	n, err := conn.Read(b) // v1 messages
//
// The program names no network: its first message, a VERSION, does. To have
// DialContext itself perform the handshake, name the network in Dialer.Config.
// conn.(*v1v2.Conn).SessionID() returns the session id, for users who compare it.
//
// # When v1 is spoken
//
// Never, unless [Dialer].Mode allows it: an attacker can provoke plaintext by cutting
// connections. Always allows it with a peer that behaves like a node without v2: it
// sends a v1 VERSION header, hangs up on two v2 handshakes without sending a byte, or
// stays silent. Any other byte from the peer rules out v1. Overlay adds the condition
// that the peer's network encrypts. Dialer.Upgrade has the whole table.
//
// v1 is spoken on another connection, to the same address, and begins with the VERSION
// as the program wrote it.
//
// # Known peers
//
// A [Peers] notes which peers have completed a v2 handshake; v1 is not spoken to them for
// 30 days, however often an attacker cuts the connection. Where v1 is allowed, peers that
// have answered in v1 are not tried in v2 for a day. [OpenPeers] keeps the notes in a file.
// A program that sets Mode should set Peers, too, to the same one in all its Dialers.
//
// # Proxies
//
// Dial can be that of a SOCKS proxy, such as socks.Upstream's DialContext: every connection
// then goes through the proxy, which resolves all names. Without a proxy, names in .onion
// and .i2p are an error, and not looked up.
//
// # What most programs do not need
//
// Connect, Upgrade, NoteV1, NoteV2 and NoteFailed are the parts of DialContext, for
// programs that read and write packets, or do something between the steps, as a proxy
// does.
package fallback

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"bip324proxy/transport"
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

// Dialer dials peers and decides between v2 and v1. Its zero value dials directly, never
// falls back and knows no peers. Several goroutines may use a Dialer; its fields must not
// be changed once it is in use.
type Dialer struct {
	// Config configures the handshakes of DialContext and their connections. A Magic that
	// is not zero names the network of all of them. First and Received must be empty. The
	// timeouts and the Memory apply only to peers that speak v2.
	Config transport.Config

	// Mode says when v1 may be spoken.
	Mode Mode

	// Peers has the known peers. Nil means that none is known.
	Peers *Peers

	// Dial opens a connection. Nil means net.Dialer's DialContext without TCP
	// keepalive, which Bitcoin Core does not use.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Direct reports that connections of Dial lead to the peer itself, so that their
	// RemoteAddr is the peer's address. It must be false where Dial goes through a
	// proxy. It has no effect if Dial is nil.
	Direct bool

	// Resolve returns the addresses of a name. Dial is then called with one of them,
	// and with another if the v2 handshake fails. It is not called where Dial goes
	// through a proxy, which resolves names itself. Nil means the system's resolver if
	// Dial is nil, too; Upgrade then tries only one address.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Overlay returns nil if the network encrypts all the way to host, as Tor and
	// CJDNS do, or why it does not count. via is the remote address of the connection
	// to host: the proxy's where Dial goes through one. It is called only before v1 would
	// be spoken, and may use the network, because v1 waits for it. In Mode Always the
	// result is only noted, in Link.Overlay. Nil means that no network encrypts.
	Overlay func(ctx context.Context, host string, via net.Addr) error

	// OnV1, if not nil, is called before v1 is sent, in DialContext or the first Write, so
	// that a program can log it: link.Cause is the reason, and link.Overlay reports whether
	// the network encrypts. It must not use link.V1.
	OnV1 func(addr string, link Link)

	// DialTimeout limits connecting to all of a name's addresses together, once they
	// are known. Zero means 5 s, as in Bitcoin Core, or a minute through a proxy.
	DialTimeout time.Duration

	// HandshakeTimeout limits one v2 handshake. Zero means 60 s, as in Bitcoin Core.
	HandshakeTimeout time.Duration

	// FirstByteTimeout is how long an unknown peer may be silent before it counts as
	// a v1 peer, where Mode allows v1, or before another of its name's addresses is
	// tried. Zero means 3 s, or 15 s through a proxy.
	FirstByteTimeout time.Duration

	// RetryAfter is the delay before the second v2 handshake with a peer that hung up
	// on the first, where v1 would follow. Zero means 1 to 2 s, at random.
	RetryAfter time.Duration

	network string // the one that DialContext was called with; "" means "tcp"
}

// dialTimeout returns DialTimeout, or what zero means. Through a proxy, and Tor most of
// all, everything takes longer.
func (d *Dialer) dialTimeout() time.Duration {
	if d.direct() {
		return cmp.Or(d.DialTimeout, 5*time.Second)
	}
	return cmp.Or(d.DialTimeout, time.Minute)
}

// SilentAfter returns FirstByteTimeout, or what zero means. Most programs do not need
// this.
func (d *Dialer) SilentAfter() time.Duration {
	if d.direct() {
		return cmp.Or(d.FirstByteTimeout, 3*time.Second)
	}
	return cmp.Or(d.FirstByteTimeout, 15*time.Second)
}
