package settings

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"

	"bip324proxy/inbound"
	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
)

// InboundListener is an address to listen on for peers, and the node behind it.
type InboundListener struct {
	Listen    string // as the setting has it
	Activated string // the name of its sockets from systemd; empty: Listen is opened
	proxy.Inbound
}

// activatedPrefix begins an ADDRESS that names sockets from systemd.
const activatedPrefix = "systemd:"

// Activated returns NAME of systemd:NAME, an ADDRESS of --inbound or --transparent.
func Activated(spec string) (name string, ok bool) { return strings.CutPrefix(spec, activatedPrefix) }

// checkActivated returns an error if NAME, in spec, is not one that systemd passes.
func checkActivated(spec, name string) error {
	if name == "" || strings.Contains(name, ":") {
		return fmt.Errorf("%q is invalid; must be systemd:NAME, where the .socket unit has FileDescriptorName=NAME", spec)
	}
	return nil
}

// checkInbound checks the settings of inbound sessions.
func (s *Settings) checkInbound() error {
	if s.InboundSessions < 1 || s.InboundSessions > maxMaxSessions {
		return s.Invalid("inbound-sessions", fmt.Errorf("%d is invalid; must be from 1 to %d", s.InboundSessions, maxMaxSessions))
	}
	for _, pair := range s.inbound {
		l, err := s.parseInbound(pair)
		if err != nil {
			return err
		}
		s.Inbound = append(s.Inbound, l)
	}
	if len(s.inbound) == 0 {
		return s.checkWithoutInbound()
	}
	return s.checkDuplicates()
}

// checkWithoutInbound returns an error if a setting that needs --inbound is not the default.
func (s *Settings) checkWithoutInbound() error {
	for _, t := range table {
		needs := t.group == groupInbound && t.name != "inbound"
		if needs && !reflect.DeepEqual(t.value(s), t.value(defaults())) {
			return s.Invalid(t.name, errors.New("has no effect without --inbound; add --inbound ADDRESS=NODE, such as 0.0.0.0:8333=127.0.0.1:8335, or remove this setting"))
		}
	}
	return nil
}

// parseInbound parses ADDRESS=NODE.
func (s *Settings) parseInbound(pair string) (l InboundListener, err error) {
	i := strings.LastIndexByte(pair, '=') // ADDRESS may have options
	if i < 0 {
		return l, s.Invalid("inbound", fmt.Errorf("%q is invalid; must be ADDRESS=NODE, such as 0.0.0.0:8333=127.0.0.1:8335", pair))
	}
	l.Listen = pair[:i]
	if l.Node, err = parseNode(pair[i+1:]); err != nil {
		return l, s.Invalid("inbound", err)
	}
	if l.Node.Source, err = inbound.ParseSource(s.InboundSource, l.Node); err != nil {
		return l, s.Invalid("inbound-source", err)
	}
	if name, ok := Activated(l.Listen); ok {
		l.Activated = name
		if err := checkActivated(l.Listen, name); err != nil {
			return l, s.Invalid("inbound", err)
		}
		if s.inboundNetwork != "" { // else the port of the socket decides
			l.Magic, err = s.InboundMagic("")
		}
		return l, err
	}
	address, err := listen.Parse(l.Listen)
	if err != nil {
		return l, s.Invalid("inbound", err)
	}
	if addr := address.NetAddr(); addr != nil {
		if err := s.CheckInboundListener(addr); err != nil {
			return l, err
		}
	}
	l.Magic, err = s.InboundMagic(address.Address)
	return l, err
}

// parseNode parses IP:PORT, NAME:PORT or unix:/PATH.
func parseNode(text string) (*inbound.Node, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" || strings.Contains(path, "?") {
			return nil, fmt.Errorf("the node %q is invalid; must be unix:/PATH, without options", text)
		}
		return &inbound.Node{Network: "unix", Address: path}, nil
	}
	addr, err := socks.ParseAddr(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the node %q is invalid; write IP:PORT, NAME:PORT or unix:/PATH, such as 127.0.0.1:8335", text)
	case addr.IP.IsUnspecified():
		return nil, fmt.Errorf("the node %s is not an address to connect to; write the one that the node listens on, such as 127.0.0.1:%d", text, addr.Port)
	}
	node := &inbound.Node{Network: "tcp", Address: addr.String()}
	return node, node.Check()
}

// InboundMagic returns the magic of the network of the inbound listener at an address: that of
// --inbound-network, or the one that uses the address's port.
func (s *Settings) InboundMagic(address string) ([4]byte, error) {
	if s.inboundNetwork != "" {
		network, err := transport.ParseNetwork(s.inboundNetwork)
		if err != nil {
			err = s.Invalid("inbound-network", err)
		}
		return network.Magic, err
	}
	_, port, _ := net.SplitHostPort(address)
	for _, n := range transport.Networks {
		if n.Port == port && port != "" {
			return n.Magic, nil
		}
	}
	return [4]byte{}, s.Invalid("inbound-network", fmt.Errorf("required, because %s does not have the default port of a network; must be %s, or a magic in eight hexadecimal digits",
		address, strings.Join(transport.NetworkNames(), ", ")))
}

// checkDuplicates returns an error if one of the inbound listeners has the address of another
// listener.
func (s *Settings) checkDuplicates() error {
	type taken struct{ setting, spec string }
	var others []taken
	for _, spec := range s.Listen {
		others = append(others, taken{"listen", spec})
	}
	for _, p := range s.PeerListeners {
		others = append(others, taken{"peer", p.Listen})
	}
	if s.Status != "" {
		others = append(others, taken{"status", s.Status})
	}
	for _, in := range s.Inbound {
		for _, other := range others {
			switch {
			case !overlap(in.Listen, other.spec):
			case other.setting == "inbound":
				return s.Invalid("inbound", fmt.Errorf("%s and %s overlap; each --inbound needs its own address, and [::] includes 0.0.0.0", other.spec, in.Listen))
			default:
				return s.Invalid("inbound", fmt.Errorf("%s overlaps %s of --%s; peers need their own address", in.Listen, other.spec, other.setting))
			}
		}
		others = append(others, taken{"inbound", in.Listen})
	}
	return nil
}

// overlap reports whether two listeners cannot both be opened. Names are not looked up.
func overlap(a, b string) bool {
	if a == b {
		return !strings.HasSuffix(a, ":0")
	}
	x, err1 := netip.ParseAddrPort(a)
	y, err2 := netip.ParseAddrPort(b)
	if err1 != nil || err2 != nil || x.Port() != y.Port() || x.Port() == 0 {
		return pathOf(a) != "" && pathOf(a) == pathOf(b)
	}
	includes := func(all, one netip.Addr) bool { return all.IsUnspecified() && (all.Is6() || one.Is4()) }
	return includes(x.Addr(), y.Addr()) || includes(y.Addr(), x.Addr())
}

// pathOf returns the path of a unix socket, or "".
func pathOf(spec string) string {
	if address, err := listen.Parse(spec); err == nil && address.Network == "unix" {
		return address.Address
	}
	return ""
}
