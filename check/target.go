package check

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"bip324proxy/socks"
	"bip324proxy/v1v2"
)

// Target is a peer that is to be checked.
type Target struct {
	Addr  socks.Addr
	Magic [4]byte // of its network
	V1    bool    // ask it in v1, in plaintext, if it does not speak v2
}

// ports are those that the networks have by default.
var ports = []struct{ network, port string }{
	{"mainnet", "8333"}, {"testnet3", "18333"}, {"testnet4", "48333"}, {"signet", "38333"}, {"regtest", "18444"},
}

// Networks are the names of the networks that have a port by default.
func Networks() (names []string) {
	for _, n := range ports {
		names = append(names, n.network)
	}
	return names
}

// ParseTarget reads a peer, HOST:PORT, where HOST may be an IPv6 address with or
// without brackets, and the name of a network, or its magic in eight hexadecimal
// digits. The network may be empty: then the port says which it is, or it is
// mainnet. The port may be missing: then it is the network's own.
func ParseTarget(peer, network string) (t Target, err error) {
	host, port := splitPort(peer)
	named := network != ""
	for _, n := range ports {
		if !named && n.port == port {
			network = n.network
		}
	}
	if network == "" {
		network = "mainnet"
	}
	var ok bool
	if t.Magic, ok = v1v2.Magic(network); !ok {
		magic, err := hex.DecodeString(network)
		if err != nil || len(magic) != len(t.Magic) {
			return t, fmt.Errorf("%q is none of mainnet, testnet3, testnet4, signet and regtest, nor a magic in eight hexadecimal digits", network)
		}
		t.Magic = [4]byte(magic)
	}
	if port == "" {
		for _, n := range ports {
			if n.network == v1v2.NetworkName(t.Magic) {
				port = n.port
			}
		}
	}
	if port == "" {
		return t, fmt.Errorf("%q has no port, and this network has none by default; write HOST:PORT", peer)
	}
	t.Addr, err = socks.ParseAddr(net.JoinHostPort(host, port))
	return t, err
}

// splitPort cuts off the port, if there is one.
func splitPort(peer string) (host, port string) {
	if _, err := netip.ParseAddr(peer); err == nil {
		return peer, ""
	}
	if host, port, err := net.SplitHostPort(peer); err == nil {
		return host, port
	}
	if inner, ok := strings.CutPrefix(peer, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]"), ""
	}
	return peer, ""
}

// network is the name of the target's, or its magic.
func (t Target) network() string { return v1v2.NetworkName(t.Magic) }

func (t Target) String() string { return t.Addr.String() }
