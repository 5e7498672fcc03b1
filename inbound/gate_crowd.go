package inbound

import (
	"net/netip"
	"slices"

	"bip324proxy/internal/random"
)

// crowd is the peers that are pending, or those that have sessions, the oldest first. It has
// a hundred or a few; all that it does goes through all of them.
type crowd []*Place

// pendingVictim returns the pending peer that has to go for a newcomer; nil if there is room.
// Newcomers are not refused instead: then a few silent peers would keep out all others of
// their network, or of the world. The oldest has had the most time to send its VERSION.
func (c crowd) pendingVictim(newcomer *Place) *Place {
	if !newcomer.local {
		nearby := c.where(func(p *Place) bool { return p.nearby == newcomer.nearby })
		if len(nearby) >= maxPendingNearby {
			return nearby.ofMost(address)[0]
		}
	}
	if len(c) < maxPending {
		return nil
	}
	if c.localYields(newcomer) {
		// They all look the same, so that the oldest would be a slow one on Tor, whoever
		// floods.
		local := c.where(isLocal)
		return local[random.N(len(local))]
	}
	return c.where(isRemote).ofMost(group).ofMost(nearby).ofMost(address)[0]
}

// sessionVictim returns the peer whose session ends for the newcomer's, as all are in use: the
// youngest of the network group with the most, so that those who came first and fill it from
// few networks keep nobody out. It is nil if the newcomer's group would have as many.
func (c crowd) sessionVictim(newcomer *Place) *Place {
	local, remote := c.where(isLocal), c.where(isRemote)
	if c.localYields(newcomer) {
		if newcomer.local {
			return nil
		}
		return local[len(local)-1]
	}
	slices.Reverse(remote)
	most := remote.ofMost(group)
	if !newcomer.local {
		own := remote.where(func(p *Place) bool { return p.group == newcomer.group })
		if len(most) <= len(own)+1 {
			return nil
		}
	}
	return most[0]
}

// replaceable returns the peers of which one may be replaced by the newcomer when nobody has to
// make room. Those who came first, half of them all, stay, so that a flood does not drive out
// everybody. The newcomer's group must not become bigger than the one's that goes.
func (c crowd) replaceable(newcomer *Place) crowd {
	alike := c.where(func(p *Place) bool { return p.local == newcomer.local })
	young := alike[(len(alike)+1)/2:]
	if newcomer.local {
		return young
	}
	counts := make(map[netip.Prefix]int)
	for _, p := range alike {
		counts[p.group]++
	}
	return young.where(func(p *Place) bool { return counts[p.group] > counts[newcomer.group] })
}

// yieldsNearby returns the one of c, the newcomer's network group, whose session ends for the
// newcomer's as the group has no more: the youngest of the /24 or /48 with the most. It is nil
// if the newcomer's would have as many.
func (c crowd) yieldsNearby(newcomer *Place) *Place {
	youngestFirst := slices.Clone(c)
	slices.Reverse(youngestFirst)
	most := youngestFirst.ofMost(nearby)
	own := c.where(func(p *Place) bool { return p.nearby == newcomer.nearby })
	if len(most) <= len(own)+1 {
		return nil
	}
	return most[0]
}

// localYields reports whether a local peer has to yield to the newcomer, or another: one of
// those that have more than their half, else one of the newcomer's.
func (c crowd) localYields(newcomer *Place) bool {
	local := len(c.where(isLocal))
	switch half := (len(c) + 1) / 2; {
	case local > half:
		return true
	case len(c)-local > half:
		return false
	}
	return newcomer.local
}

// where returns those of c for which is returns true.
func (c crowd) where(is func(*Place) bool) crowd {
	return slices.DeleteFunc(slices.Clone(c), func(p *Place) bool { return !is(p) })
}

// ofMost returns those of c, which is not empty, that are of the network with the most; of
// several such, of that whose first peer comes first.
func (c crowd) ofMost(network func(*Place) netip.Prefix) crowd {
	counts := make(map[netip.Prefix]int)
	most := 0
	for _, p := range c {
		counts[network(p)]++
		most = max(most, counts[network(p)])
	}
	first := slices.IndexFunc(c, func(p *Place) bool { return counts[network(p)] == most })
	return c.where(func(p *Place) bool { return network(p) == network(c[first]) })
}

func isLocal(p *Place) bool  { return p.local }
func isRemote(p *Place) bool { return !p.local }

func address(p *Place) netip.Prefix { return p.address }
func nearby(p *Place) netip.Prefix  { return p.nearby }
func group(p *Place) netip.Prefix   { return p.group }
