package check

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"bip324proxy/socks"
	"bip324proxy/transport"
)

// Target is a peer that is to be checked.
type Target struct {
	Addr  socks.Addr
	Magic [4]byte // of its network
	V1    bool    // ask it in v1, in plaintext, if it does not speak v2

	// Guessed reports that Magic is mainnet's for want of a better guess: the port is not
	// the default one of any network.
	Guessed bool
}

// ParseTarget reads a peer, HOST:PORT, where HOST may be an IPv6 address with or
// without brackets, and its network (see transport.ParseNetwork). Without a network
// the port tells it, or it is mainnet; without a port it is the network's.
func ParseTarget(peer, network string) (t Target, err error) {
	host, port := splitPort(peer)
	n := transport.Networks[0]
	if network != "" {
		if n, err = transport.ParseNetwork(network); err != nil {
			return t, err
		}
	} else if i := slices.IndexFunc(transport.Networks, func(n transport.Network) bool { return n.Port == port }); i >= 0 {
		n = transport.Networks[i]
	} else {
		t.Guessed = port != ""
	}
	t.Magic = n.Magic
	if port == "" {
		port = n.Port
	}
	if port == "" {
		return t, fmt.Errorf("%q has no port, and network %s has no default port; write HOST:PORT", peer, n.Name)
	}
	t.Addr, err = socks.ParseAddr(net.JoinHostPort(host, port))
	return t, err
}

// splitPort cuts off the port, if there is one.
func splitPort(peer string) (host, port string) {
	if host, port, err := net.SplitHostPort(peer); err == nil {
		return host, port
	}
	if inner, ok := strings.CutPrefix(peer, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]"), ""
	}
	return peer, ""
}

func (t Target) String() string { return t.Addr.String() }
