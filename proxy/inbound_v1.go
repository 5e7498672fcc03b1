package proxy

import (
	"context"
	"net/netip"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// mayUseV1 reports whether the peer may speak v1.
func (s *session) mayUseV1() bool {
	switch s.policy.InboundV1 {
	case fallback.Always:
		return true
	case fallback.Overlay:
		return s.policy.isOverlayPeer(s.peer.addr)
	}
	return false
}

// isOverlayPeer reports whether a peer with that address, invalid for one on a unix
// socket, connects through a network that encrypts: a local program, most likely Tor, has
// connected for it, or it is on CJDNS.
func (p *Policy) isOverlayPeer(peer netip.Addr) bool {
	return !peer.IsValid() || peer.IsLoopback() || p.CJDNSReachable && cjdns.Contains(peer)
}

// settleInboundV1 opens the session of a peer that speaks v1, and has sent received so far.
func (s *session) settleInboundV1(ctx context.Context, received []byte) (relay relaying, err error) {
	peer := s.peer.socket
	in := stream.NewReader(peer)
	in.Unread(received)
	version, err := s.awaitVersion(ctx, in)
	if err == nil {
		err = s.connectToNode(ctx, version)
	}
	if err != nil {
		return nil, err
	}
	s.down.NoteVersion(version[v1v2.HeaderSize:])
	s.down.Bytes.Add(uint64(len(version)))
	r := s.newRelay(peer)
	r.opening.in = in
	s.count(func(t *tally) { t.fallbacks[causeSpokeV1]++ })
	overlay := s.policy.isOverlayPeer(s.peer.addr)
	s.show(func(info *SessionInfo) { info.Fallback, info.Overlay = causeSpokeV1, overlay })
	s.logOpen("v1", "cause", transport.ErrV1Peer.Error())
	go s.relayDown(r, nil)
	return relayingBy(func() error { return s.relayV1(r) }), nil
}
