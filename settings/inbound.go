package settings

import (
	"fmt"
	"net"
	"strings"

	"bip324proxy/inbound"
	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// checkInbound checks the settings of what comes in.
func (s *Settings) checkInbound() error {
	for _, pair := range s.inbound {
		i := strings.LastIndexByte(pair, '=') // ADDRESS may have options
		if i < 0 {
			return s.Invalid("inbound", fmt.Errorf("%q is not ADDRESS=NODE; write 0.0.0.0:8333=127.0.0.1:8334", pair))
		}
		spec := pair[:i]
		address, err := listen.Parse(spec)
		if err != nil {
			return s.Invalid("inbound", err)
		}
		node, err := listen.Parse(pair[i+1:])
		if err != nil {
			return s.Invalid("inbound", err)
		}
		network, err := s.networkOf(address)
		if err != nil {
			return s.Invalid("inbound-network", err)
		}
		s.Inbound = append(s.Inbound, InboundListener{spec, proxy.Inbound{Node: &inbound.Node{Network: node.Network, Address: node.Address}, Magic: network.Magic}})
	}
	return nil
}

// networkOf returns the network of peers that come in at an address.
func (s *Settings) networkOf(address listen.Address) (transport.Network, error) {
	if s.inboundNetwork != "" {
		return transport.ParseNetwork(s.inboundNetwork)
	}
	_, port, _ := net.SplitHostPort(address.Address)
	for _, n := range transport.Networks {
		if n.Port == port {
			return n, nil
		}
	}
	return transport.Network{}, fmt.Errorf("required: no network uses port %s by default; must be %s, or a magic in eight hexadecimal digits",
		port, strings.Join(transport.NetworkNames(), ", "))
}
