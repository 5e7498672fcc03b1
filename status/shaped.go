package status

import (
	"time"

	"bip324proxy/proxy"
)

// Shaped is what traffic shaping does and costs, in sessions of both directions.
type Shaped struct {
	Live map[string]int `json:"live"` // open sessions by the shape in force, each of proxy.Shapes
	// LastDay is the filler of the last 24 hours, up to ten minutes more.
	LastDay proxy.Filler `json:"filler_last_day"`
}

// fillerOf returns the filler since the start, of both directions' sessions.
func fillerOf(s *proxy.Snapshot) proxy.Filler {
	all := s.Filler
	if s.Inbound != nil {
		all.ToPeer += s.Inbound.Filler.ToPeer
		all.FromPeer += s.Inbound.Filler.FromPeer
	}
	return all
}

const (
	day            = 24 * time.Hour
	fillerInterval = 10 * time.Minute
)

// fillerDay keeps how much filler there was at times of the last day, the oldest first.
type fillerDay []fillerSample

type fillerSample struct {
	at  time.Time
	all proxy.Filler // since the start
}

// add keeps a sample, unless the last one is too recent, and forgets those that are not needed:
// the oldest is the last one that is a day old.
func (d *fillerDay) add(at time.Time, all proxy.Filler) {
	kept := *d
	if len(kept) == 0 || at.Sub(kept[len(kept)-1].at) >= fillerInterval {
		kept = append(kept, fillerSample{at, all})
	}
	for len(kept) > 1 && at.Sub(kept[1].at) >= day {
		kept = kept[1:]
	}
	*d = kept
}

// of returns the filler of the last day. all is that since the start.
func (d fillerDay) of(all proxy.Filler) proxy.Filler {
	if len(d) == 0 {
		return all
	}
	before := d[0].all
	return proxy.Filler{ToPeer: all.ToPeer - min(before.ToPeer, all.ToPeer), FromPeer: all.FromPeer - min(before.FromPeer, all.FromPeer)}
}
