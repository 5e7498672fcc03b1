package check

import (
	"fmt"
	"strings"
	"time"
)

// services holds the service bits that have a name (Bitcoin Core, ServiceFlags).
var services = []struct {
	bit  uint
	name string
}{
	{0, "NETWORK"}, {2, "BLOOM"}, {3, "WITNESS"}, {6, "COMPACT_FILTERS"}, {10, "NETWORK_LIMITED"}, {11, "P2P_V2"},
}

// serviceNames returns the names of the bits that are set, as in Bitcoin Core's getpeerinfo.
func serviceNames(bits uint64) (names []string) {
	for _, s := range services {
		if bits&(1<<s.bit) != 0 {
			names = append(names, s.name)
			bits &^= 1 << s.bit
		}
	}
	for bit := range 64 {
		if bits&(1<<bit) != 0 {
			names = append(names, fmt.Sprintf("UNKNOWN[2^%d]", bit))
		}
	}
	return names
}

// describe returns what the peer's VERSION says about it.
func (p *prober) describe() string {
	peer := p.report.Peer
	agent := peer.UserAgent
	if agent == "" {
		agent = "no user agent"
	}
	offers := "no services"
	if len(peer.Offers) > 0 {
		offers = strings.Join(peer.Offers, " ")
	}
	return fmt.Sprintf("%s, protocol %d, at block %d, offers %s", agent, peer.Protocol, peer.Height, offers)
}

func rounded(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
