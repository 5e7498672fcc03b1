package status

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"bip324proxy/proxy"
)

// Report is what /api/status says. As with Snapshot, no name changes its meaning.
type Report struct {
	// Snapshot's Sessions are those here that the query asks for, in the order of rank
	// and the newest first.
	proxy.Snapshot

	// Found counts the live sessions that the query asks for, LeftOut those of them that
	// Sessions has no room for.
	Found   int `json:"sessions_found"`
	LeftOut int `json:"sessions_left_out"`

	Version string  `json:"version"`
	Uptime  float64 `json:"uptime_seconds"`

	// Live counts all live sessions, also those that Sessions leaves out.
	Live Live `json:"live"`

	// Encrypted is what Live.Encrypted says.
	Encrypted Verdict `json:"encrypted"`

	// Outcomes are what became of all sessions that are settled, by cause and with
	// the most frequent first.
	Outcomes []Outcome `json:"outcomes"`

	Throughput Throughput `json:"throughput"`
	Settings   []Setting  `json:"settings"`
}

// Live counts live sessions.
type Live struct {
	All         int `json:"all"`
	V2          int `json:"v2"`
	V1          int `json:"v1"`
	V1Overlay   int `json:"v1_overlay"` // of V1: within a network that encrypts
	Passthrough int `json:"passthrough"`
	Pending     int `json:"pending"` // not open yet
}

// Verdict answers whether the Bitcoin traffic of all live sessions is encrypted.
type Verdict string

// The verdicts.
const (
	Yes     Verdict = "yes"
	No      Verdict = "no" // none that is known to be
	Partly  Verdict = "partly"
	Unknown Verdict = "unknown" // it is all passed through: it may be v2 of the client's own, or not Bitcoin
	None    Verdict = "none"    // no session is open
)

// Encrypted is the one question that the status is there for.
func (l Live) Encrypted() Verdict {
	encrypted, plain := l.V2+l.V1Overlay, l.V1-l.V1Overlay
	switch {
	case encrypted+plain+l.Passthrough == 0:
		return None
	case plain+l.Passthrough == 0:
		return Yes
	case encrypted+plain == 0:
		return Unknown
	case encrypted == 0:
		return No
	}
	return Partly
}

// Outcome is what became of sessions: one of those in Snapshot.Opened, "v1" by its
// cause, or "refused" by its kind.
type Outcome struct {
	Outcome string  `json:"outcome"`         // v2, v1, passthrough or refused
	Cause   string  `json:"cause,omitempty"` // of v1 one of proxy.FallbackCauses, of refused one of proxy.RefusalKinds
	Count   uint64  `json:"count"`
	Share   float64 `json:"share"` // of all, from 0 to 1
}

// newReport makes a report with the sessions that q asks for.
func newReport(now proxy.Snapshot, q query) *Report {
	r := &Report{Snapshot: now, Uptime: now.Time.Sub(now.Started).Seconds(), Live: count(now.Sessions), Outcomes: outcomes(now), Settings: []Setting{}}
	r.Encrypted = r.Live.Encrypted()
	r.Sessions, r.Found = q.find(now.Sessions)
	r.LeftOut = r.Found - len(r.Sessions)
	return r
}

func count(sessions []proxy.SessionInfo) Live {
	l := Live{All: len(sessions)}
	for _, s := range sessions {
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

func outcomes(now proxy.Snapshot) []Outcome {
	all := []Outcome{
		{Outcome: "v2", Count: now.Opened["v2"]},
		{Outcome: "passthrough", Count: now.Opened["passthrough"]},
	}
	for _, cause := range proxy.FallbackCauses {
		all = append(all, Outcome{Outcome: "v1", Cause: cause, Count: now.Fallbacks[cause]})
	}
	for _, kind := range proxy.RefusalKinds {
		all = append(all, Outcome{Outcome: "refused", Cause: kind, Count: now.Refused[kind]})
	}
	var sum uint64
	for _, o := range all {
		sum += o.Count
	}
	for i := range all {
		all[i].Share = float64(all[i].Count) / float64(max(sum, 1))
	}
	slices.SortStableFunc(all, func(a, b Outcome) int { return cmp.Compare(b.Count, a.Count) })
	return all
}

// report answers /api/status.
func (s *Server) report(w http.ResponseWriter, r *http.Request, recent *recent) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		say(w, http.StatusBadRequest, "bad request: "+err.Error())
		return
	}
	now := newReport(s.Snapshot(), q)
	now.Version, now.Throughput = s.Version, recent.throughput()
	if s.Settings != nil {
		now.Settings = append(now.Settings, s.Settings()...)
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodHead {
		json.NewEncoder(w).Encode(now) // it fails only where the client is gone
	}
}
