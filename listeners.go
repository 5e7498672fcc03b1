package main

import (
	"net"

	"bip324proxy/proxy"
)

// listener is one of the program's, and the peer that its clients are connected
// to if they are not to be asked.
type listener struct {
	net.Listener
	peer string
}

// attrs are what the log says of it.
func (l listener) attrs(s *settings) []any {
	args := []any{"addr", l.Addr().String()}
	if l.peer != "" && s.logAddresses {
		args = append(args, "peer", l.peer)
	}
	if s.policy.Upstream != nil {
		args = append(args, "upstream", s.policy.Upstream.Address)
	}
	return append(args, "v1_fallback", s.v1Fallback, "passthrough", s.passthrough)
}

// listen opens all listeners: those of --listen and systemd, or the default one,
// and those of --peer.
func listen(s *settings, o *opening) (all []listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
		}
	}()
	activated, err := proxy.Activated()
	if err != nil {
		return nil, err
	}
	for _, l := range activated {
		all = append(all, listener{l, ""})
	}
	open := func(name, spec, peer string) error {
		l, err := o.open(s, name, spec)
		if err == nil {
			all = append(all, listener{l, peer})
		}
		return err
	}
	if _, given := s.origins["listen"]; given || len(activated) == 0 {
		for _, spec := range s.listen {
			if err := open("listen", spec, ""); err != nil {
				return all, err
			}
		}
	}
	for _, pair := range s.peer {
		spec, peer, err := splitPeer(pair)
		if err != nil {
			return all, s.wrong("peer", err)
		}
		if err := open("peer", spec, peer); err != nil {
			return all, err
		}
	}
	return all, s.mayServe(all)
}

// mayServe returns an error if any of the listeners, by the address that it has
// got, would be open to whom it must not with these settings.
func (s *settings) mayServe(all []listener) error {
	for _, l := range all {
		if err := s.mayListen(l.Addr(), l.peer); err != nil {
			return err
		}
	}
	return nil
}
