package status

import "bip324proxy/proxy"

// Verdict answers the one question that the status is there for: is the Bitcoin traffic of all
// live sessions encrypted?
type Verdict string

// The verdicts.
const (
	Yes     Verdict = "yes"
	No      Verdict = "no" // no session is known to be encrypted, and some are in plaintext
	Partly  Verdict = "partly"
	Unknown Verdict = "unknown" // all is passed through: the client's own v2, or not Bitcoin
	None    Verdict = "none"    // no session is open
)

// Live counts live sessions of both directions.
type Live struct {
	All         int `json:"all"`
	V2          int `json:"v2"`
	V1          int `json:"v1"`
	V1Overlay   int `json:"v1_overlay"` // of V1: within a network that encrypts
	Passthrough int `json:"passthrough"`
	Pending     int `json:"pending"` // not open yet
	Inbound     int `json:"inbound"` // of All: the peer has connected to us
}

// Encrypted returns the verdict that the page, /api/status and the terminal show.
func (l Live) Encrypted() Verdict {
	encrypted, plaintext := l.V2+l.V1Overlay, l.V1-l.V1Overlay
	switch {
	case encrypted+plaintext+l.Passthrough == 0:
		return None
	case plaintext+l.Passthrough == 0:
		return Yes
	case encrypted+plaintext == 0:
		return Unknown
	case encrypted == 0:
		return No
	}
	return Partly
}

// census counts live sessions.
type census struct {
	live    Live
	shaped  map[string]int      // open ones by the shape in force, each of proxy.Shapes
	pending map[proxy.State]int // those that are not open yet
}

func newCensus() *census {
	c := &census{shaped: make(map[string]int), pending: make(map[proxy.State]int)}
	for _, shape := range proxy.Shapes {
		c.shaped[shape] = 0
	}
	return c
}

// add counts s.
func (c *census) add(s *proxy.SessionInfo) {
	c.live.All++
	if s.Inbound {
		c.live.Inbound++
	}
	switch s.Transport {
	case "v2":
		c.live.V2++
	case "v1":
		c.live.V1++
		if s.Overlay {
			c.live.V1Overlay++
		}
	case "passthrough":
		c.live.Passthrough++
	default:
		c.live.Pending++
	}
	if s.State != proxy.StateOpen {
		c.pending[s.State]++
	} else if s.Shape != "" {
		c.shaped[s.Shape]++
	}
}
