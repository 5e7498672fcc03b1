package fallback

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"bip324proxy/transport"
)

// What a Dialer looks up and notes is about two spellings of one peer: what was
// asked for, a name or an address, and the address that a connection reached. For
// v2 either counts. v1 is known of the address that answered only, or a name with
// one v1 peer would lead to plaintext with all its addresses; where a proxy
// connects, of what was asked for.

// reached returns the address of the peer that nc leads to, or "" if it is not
// known, as through a proxy.
func (d *Dialer) reached(nc net.Conn) string {
	if d.Dial != nil && !d.Direct || nc == nil {
		return ""
	}
	remote := nc.RemoteAddr()
	if remote == nil {
		return ""
	}
	if _, err := netip.ParseAddrPort(remote.String()); err != nil {
		return ""
	}
	return CanonicalAddr(remote.String())
}

// v1Addr is what a v1 note is about, if nc is a connection to addr; "" if there
// can be none.
func (d *Dialer) v1Addr(addr string, nc net.Conn) string {
	if d.Dial != nil && !d.Direct {
		return addr
	}
	return d.reached(nc)
}

// provenV2 reports whether addr, or an address that one of its connections
// reached, is known to speak v2.
func (d *Dialer) provenV2(addr string, conns ...net.Conn) bool {
	return d.Peers.Lookup(addr) == SpeaksV2 || slices.ContainsFunc(conns, func(nc net.Conn) bool {
		at := d.reached(nc)
		return at != "" && d.Peers.Lookup(at) == SpeaksV2
	})
}

// MayFallBack says whether a failed handshake with addr, "host:port", could lead
// to v1, as far as can be told without a connection.
func (d *Dialer) MayFallBack(addr string) bool { return d.mayFallBack(addr) }

func (d *Dialer) mayFallBack(addr string, conns ...net.Conn) bool {
	return d.allowsV1() && !d.provenV2(addr, conns...)
}

// allowsV1 reports whether there are peers that may be spoken to in v1. Overlay is
// not asked yet.
func (d *Dialer) allowsV1() bool {
	return d.Mode == Always || d.Mode == Overlay && d.Overlay != nil
}

// knownV1 returns why v2 need not be tried on nc, a connection to addr, where v1 may be
// spoken: ErrV1Peer, ErrKnownV1, ErrRefusedV2, or nil if it is to be tried.
func (d *Dialer) knownV1(addr string, nc net.Conn, cfg *transport.Config) error {
	switch {
	case cfg.ReceivedV1():
		return transport.ErrV1Peer
	case len(cfg.Received) > 0: // so far this is not v1
		return nil
	}
	switch d.Peers.Lookup(d.v1Addr(addr, nc)) {
	case SpeaksV1:
		return ErrKnownV1
	case RefusedV2:
		return ErrRefusedV2
	}
	return nil
}

// NoteV2 records that addr, "host:port", and the address that nc, a connection to
// it, reached speak v2. Upgrade does so when a handshake has succeeded. To call it
// again when the session ends makes the 30 days begin there.
func (d *Dialer) NoteV2(addr string, nc net.Conn) {
	d.Peers.Note(addr, SpeaksV2)
	if at := d.reached(nc); at != "" && at != CanonicalAddr(addr) {
		d.Peers.Note(at, SpeaksV2)
	}
}

// NoteV1 records that the peer at the other end of link.V1, a connection to addr,
// has answered in v1. It does so only if a v2 handshake had just failed: v1 that
// was spoken because the peer was known to speak it is no reason to know it for
// another day, or the peer's upgrade, or an attack, would never be found out.
func (d *Dialer) NoteV1(addr string, link Link) {
	at := d.v1Addr(addr, link.V1)
	if errors.As(link.Cause, new(*transport.HandshakeError)) && at != "" && !d.provenV2(addr, link.V1) {
		d.Peers.Note(at, SpeaksV1)
	}
}

// NoteFailed records how a v2 handshake on nc, a connection to addr, ended that
// somebody else performed, such as a client that speaks v2 itself through a
// proxy. If a v1 peer would have ended it so, and only where Fallback allows v1 and
// the peer is not known to speak v2, it is noted as RefusedV2: who then comes back
// with v1 gets it, instead of one more v2 handshake that fails the same way.
func (d *Dialer) NoteFailed(addr string, nc net.Conn, e *transport.HandshakeError) {
	if at := d.v1Addr(addr, nc); at != "" && isV1(e) && d.mayFallBack(addr, nc) {
		d.Peers.Note(at, RefusedV2)
	}
}

// isV1 reports whether a handshake failed with err the way it does with a v1 peer,
// or was not tried because the peer seems to be one.
func isV1(err error) bool {
	if e, ok := err.(*transport.HandshakeError); ok { // a *RedialError is none
		return errors.Is(e, transport.ErrV1Peer) || e.Sent >= minSent && e.Received == 0 && (e.HungUp() || errors.Is(e, transport.ErrSilent))
	}
	return err == ErrKnownV1 || err == ErrRefusedV2 || err == transport.ErrV1Peer
}
