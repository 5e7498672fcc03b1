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

// pointers returns pointers to all sessions, which are large.
func pointers(sessions []proxy.SessionInfo) []*proxy.SessionInfo {
	all := make([]*proxy.SessionInfo, len(sessions))
	for i := range sessions {
		all[i] = &sessions[i]
	}
	return all
}

// countLive counts sessions by what they speak.
func countLive(sessions []*proxy.SessionInfo) Live {
	l := Live{All: len(sessions)}
	for _, s := range sessions {
		if s.Inbound {
			l.Inbound++
		}
		switch s.Transport {
		case "v2":
			l.V2++
		case "v1":
			l.V1++
			if s.Overlay {
				l.V1Overlay++
			}
		case "passthrough":
			l.Passthrough++
		default:
			l.Pending++
		}
	}
	return l
}
