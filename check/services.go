package check

import (
	"fmt"
	"strings"
	"time"
)

// services are the bits of VERSION's services that have a name (Bitcoin Core,
// ServiceFlags).
var services = []struct {
	bit  uint
	name string
}{
	{0, "NETWORK"}, {2, "BLOOM"}, {3, "WITNESS"}, {6, "COMPACT_FILTERS"}, {10, "NETWORK_LIMITED"}, {11, "P2P_V2"},
}

// serviceNames names the bits that are set, as Bitcoin Core's getpeerinfo does.
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

// describe tells what the peer said of itself.
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
