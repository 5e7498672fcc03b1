package fallback

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// A peer has two keys in Peers: what was asked for, a name or an address, and the
// address that a connection reached. v2 is noted for both. v1 is noted only for the
// address that answered, so that a name with one v1 peer does not lead to plaintext
// with all its addresses; through a proxy, which hides the address, for what was asked
// for.

// direct reports whether connections lead to the peer itself.
func (d *Dialer) direct() bool { return d.Dial == nil || d.Direct }

// reached returns the address of the peer that nc leads to, or "" if it is unknown,
// as it is through a proxy.
func (d *Dialer) reached(nc net.Conn) string {
	if !d.direct() || nc == nil || nc.RemoteAddr() == nil {
		return ""
	}
	remote := nc.RemoteAddr().String()
	if _, err := netip.ParseAddrPort(remote); err != nil {
		return ""
	}
	return CanonicalAddr(remote)
}

// v1Key returns the key of v1 notes about nc, a connection to addr, or "" if there
// is none.
func (d *Dialer) v1Key(addr string, nc net.Conn) string {
	if !d.direct() {
		return addr
	}
	return d.reached(nc)
}

// provenV2 reports whether addr, or an address that one of its connections reached,
// is known to speak v2.
func (d *Dialer) provenV2(addr string, conns ...net.Conn) bool {
	return d.Peers.Lookup(addr) == SpeaksV2 || slices.ContainsFunc(conns, func(nc net.Conn) bool {
		at := d.reached(nc)
		return at != "" && d.Peers.Lookup(at) == SpeaksV2
	})
}

// MayFallBack reports whether a failed handshake with addr, "host:port", to which
// conns lead, may be followed by v1. It does not call Overlay. Most programs do not need
// this.
func (d *Dialer) MayFallBack(addr string, conns ...net.Conn) bool {
	return d.allowsV1() && !d.provenV2(addr, conns...)
}

// allowsV1 reports whether v1 may be spoken to any peer. It does not call Overlay.
func (d *Dialer) allowsV1() bool {
	return d.Mode == Always || d.Mode == Overlay && d.Overlay != nil
}

// knownV1 returns why v2 is not tried on nc, a connection to addr, where v1 may be
// spoken: transport.ErrV1Peer, ErrKnownV1 or ErrRefusedV2; or nil if it is tried.
func (d *Dialer) knownV1(addr string, nc net.Conn, cfg *transport.Config) (known error) {
	switch d.Peers.Lookup(d.v1Key(addr, nc)) {
	case SpeaksV1:
		known = ErrKnownV1
	case RefusedV2:
		known = ErrRefusedV2
	}
	heard := transport.Config{Magic: cfg.Magic, Received: cfg.Received}
	if known != nil && len(heard.Received) == 0 { // the peer may have spoken since
		header := make([]byte, v1v2.HeaderSize)
		heard.Received = header[:stream.Arrived(nc, header)]
	}
	switch {
	case heard.ReceivedV1():
		return transport.ErrV1Peer
	case len(heard.Received) > 0: // so far this is not v1
		return nil
	}
	return known
}

// NoteV2 records that addr, "host:port", and the address that nc, a connection to
// it, reached speak v2. Upgrade calls it when a handshake has succeeded; calling it
// again at the end of the session makes the 30 days begin there. DialContext does both.
func (d *Dialer) NoteV2(addr string, nc net.Conn) {
	d.Peers.Note(addr, SpeaksV2)
	if at := d.reached(nc); at != "" && at != CanonicalAddr(addr) {
		d.Peers.Note(at, SpeaksV2)
	}
}

// NoteV1 records that the peer of link.V1, a connection to addr, has answered in v1.
// It does so only after a failed v2 handshake: if sessions that skip v2 renewed the
// note, neither an upgrade of the peer nor an attack would ever be noticed. Connections
// of DialContext call it.
func (d *Dialer) NoteV1(addr string, link Link) {
	at := d.v1Key(addr, link.V1)
	if errors.As(link.Cause, new(*transport.HandshakeError)) && at != "" && !d.provenV2(addr, link.V1) {
		d.Peers.Note(at, SpeaksV1)
	}
}

// NoteFailed records that a v2 handshake on nc, a connection to addr, that a client
// performed by itself through a proxy, failed with e. If e looks like v1, and v1 is
// allowed, the peer is noted as RefusedV2: a client that then connects with v1 gets
// the second v2 handshake only. Most programs do not need this: it is for proxies.
func (d *Dialer) NoteFailed(addr string, nc net.Conn, e *transport.HandshakeError) {
	if at := d.v1Key(addr, nc); at != "" && looksV1(e) && d.MayFallBack(addr, nc) {
		d.Peers.Note(at, RefusedV2)
	}
}
