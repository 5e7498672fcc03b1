package command

import (
	"fmt"
	"strings"

	"bip324proxy/internal/listen"
	"bip324proxy/settings"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// inboundSocketName is the name of the socket of the packaged unit bip324-proxy-inbound.socket.
const inboundSocketName = "inbound"

// fewSessions are fewer than a node that makes connections may want.
const fewSessions = 64

// inboundInUse is the hint about an address of --inbound that is in use.
var inboundInUse = "another program uses that address, perhaps the node: let the node listen on another one, " +
	"such as 127.0.0.1:8335 (Bitcoin Core: bind=127.0.0.1:8335; btcd: listen=127.0.0.1:8335), and name that as NODE; " + showListeners + " shows which program it is"

// inboundAttrs is attrs of an inbound listener.
func (l listener) inboundAttrs(s *settings.Settings) []any {
	args := []any{"addr", l.Addr().String(), "inbound", true, "network", transport.NetworkName(l.inbound.Magic), "inbound_v1", s.InboundV1}
	if l.inbound.Node.Network == "tcp" {
		args = append(args, "source", s.InboundSource)
	}
	args = append(args, "node", l.inbound.Node.String())
	if s.LogAddresses && len(s.Policy.Announce) > 0 { // they are this machine's, which others see
		var announced []string
		for _, addr := range s.Policy.Announce {
			announced = append(announced, addr.String())
		}
		args = append(args, "announce_v2", strings.Join(announced, ","))
	}
	return args
}

// assignInbound makes those of the listeners from systemd that --inbound names listeners for
// peers. The others are for clients.
func assignInbound(s *settings.Settings, activated []listen.ActivatedListener, all []listener) (err error) {
	taken := make(map[string]bool)
	for i, socket := range activated {
		for _, in := range s.Inbound {
			if in.Activated == "" || in.Activated != socket.Name {
				continue
			}
			if in.Magic == [4]byte{} {
				if in.Magic, err = s.InboundMagic(socket.Addr().String()); err != nil {
					return err
				}
			}
			all[i].spec, all[i].inbound = in.Listen, &in.Inbound
			taken[socket.Name] = true
		}
		if all[i].inbound == nil && socket.Name == inboundSocketName {
			return s.Invalid("inbound", fmt.Errorf("systemd passes the socket %v for peers, which no --inbound uses; "+
				"add systemd:%s=NODE with the node's address, such as 127.0.0.1:8335, or disable the .socket unit", socket.Addr(), inboundSocketName))
		}
	}
	for _, in := range s.Inbound {
		if in.Activated != "" && !taken[in.Activated] {
			return s.Invalid("inbound", fmt.Errorf("systemd passes no socket named %q; start its .socket unit, which needs FileDescriptorName=%[1]s, "+
				"before the service, or write HOST:PORT instead of %s", in.Activated, in.Listen))
		}
	}
	return nil
}

// checkNodes returns an error if a node is one of the listeners: peers would go round in
// circles.
func checkNodes(s *settings.Settings, all []listener) error {
	for _, in := range s.Inbound {
		for _, l := range all {
			if in.Node.ListensAt(l.Addr()) {
				return s.Invalid("inbound", fmt.Errorf("the node %v is this proxy's own listener at %v; write the address that the node listens on, such as 127.0.0.1:8335", in.Node, l.Addr()))
			}
		}
	}
	return nil
}

// adviseInbound logs which peers will not use v2, and whether peers may use plaintext.
func (s *service) adviseInbound() {
	now := s.settings()
	if len(now.Inbound) == 0 {
		return
	}
	if len(now.Policy.Announce) == 0 {
		s.log.Info("announce-v2 is not set, so Bitcoin Core's automatic connections to the node will not use v2; set it to the address where peers reach --inbound")
	}
	if now.Policy.InboundV1 == fallback.Always {
		s.log.Warn("peers without v2 are accepted in plaintext v1; to refuse them, set inbound-v1 to never", "inbound_v1", now.InboundV1)
	}
}
