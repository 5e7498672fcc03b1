package command

import (
	"fmt"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/transparent"
	"bip324proxy/settings"
)

// transparentSocketName is the name of a socket that is for --transparent only.
const transparentSocketName = "transparent"

// makeTransparent makes l a listener for redirected clients.
func (l *listener) makeTransparent(s *settings.Settings) (err error) {
	if l.transparent, err = transparent.Prepare(l.Listener); err != nil {
		return s.Invalid("transparent", err)
	}
	return nil
}

// assignTransparent makes those of the listeners from systemd that --transparent names
// listeners for redirected clients.
func assignTransparent(s *settings.Settings, activated []listen.ActivatedListener, all []listener) error {
	taken := make(map[string]bool)
	wanted := make(map[string]string) // the setting by name
	for _, spec := range s.Transparent {
		if name, ok := settings.Activated(spec); ok {
			wanted[name] = spec
		}
	}
	for i, socket := range activated {
		spec := wanted[socket.Name]
		switch {
		case spec != "" && socket.Addr().Network() != "tcp":
			return s.Invalid("transparent", fmt.Errorf("no connection is redirected to the unix socket %v that systemd passes; in the .socket unit, write ListenStream=IP:PORT", socket.Addr()))
		case spec != "" && all[i].inbound != nil:
			return s.Invalid("transparent", fmt.Errorf("the socket %v from systemd is also for --inbound; give it another FileDescriptorName", socket.Addr()))
		case spec != "":
			all[i].spec = spec
			if err := all[i].makeTransparent(s); err != nil {
				return err
			}
			taken[socket.Name] = true
		case socket.Name == transparentSocketName:
			return s.Invalid("transparent", fmt.Errorf("systemd passes the socket %v for redirected connections, which no --transparent uses; add systemd:%s, or disable the .socket unit", socket.Addr(), socket.Name))
		}
	}
	for name := range wanted {
		if !taken[name] {
			return s.Invalid("transparent", fmt.Errorf("systemd passes no socket named %q; start its .socket unit, which needs FileDescriptorName=%[1]s, before the service, or write HOST:PORT", name))
		}
	}
	return nil
}
