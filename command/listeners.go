package command

import (
	"net"

	"bip324proxy/internal/listen"
	"bip324proxy/settings"
)

// listener is one of the program's, and the peer that its clients are connected
// to if they are not to be asked.
type listener struct {
	net.Listener
	peer      string
	openToAll bool // to all users of this machine, if it is a socket file
}

// attrs are what the log says of it.
func (l listener) attrs(s *settings.Settings) []any {
	args := []any{"addr", l.Addr().String()}
	if l.peer != "" && s.LogAddresses {
		args = append(args, "peer", l.peer)
	}
	if s.Policy.Upstream != nil {
		args = append(args, "upstream", s.Policy.Upstream.Address)
	}
	return append(args, "v1_fallback", s.V1Fallback, "passthrough", s.Passthrough)
}

// openListeners opens all listeners: those of --listen and systemd, or the default ones, and
// those of --peer. Of the default ones those are missing that this machine has no address
// for, if there is another; missing has why.
func openListeners(s *settings.Settings, o *opening) (all []listener, missing []error, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
		}
	}()
	activated, err := listen.Activated()
	if err != nil {
		return nil, nil, err
	}
	for _, l := range activated {
		all = append(all, listener{Listener: l})
	}
	open := func(name, spec, peer string, wait bool) error {
		l, err := o.open(s, name, spec, wait)
		if err == nil {
			address, _ := listen.Parse(spec) // which Open has parsed
			all = append(all, listener{l, peer, address.OpenToAll()})
		}
		return err
	}
	if given := s.IsGiven("listen"); given || len(activated) == 0 {
		for _, spec := range s.Listen {
			err := open("listen", spec, "", given)
			if !given && listen.IsNoAddress(err) {
				missing = append(missing, err)
				continue
			}
			if err != nil {
				return all, nil, err
			}
		}
		if len(missing) > 0 && len(missing) == len(s.Listen) {
			missing = nil
			if err := open("listen", s.Listen[0], "", true); err != nil {
				return all, nil, err
			}
		}
	}
	for _, p := range s.PeerListeners {
		if err := open("peer", p.Listen, p.Peer, true); err != nil {
			return all, nil, err
		}
	}
	return all, missing, checkListeners(s, all)
}

// checkListeners returns an error if any of the listeners, by the address that it has
// got, would be open to whom it must not with these settings.
func checkListeners(s *settings.Settings, all []listener) error {
	for _, l := range all {
		if err := s.CheckListener(l.Addr(), l.peer, l.openToAll); err != nil {
			return err
		}
	}
	return nil
}
