package status

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"bip324proxy/proxy"
)

// Report is the document at /api/status. As with Snapshot, names never change their meaning.
type Report struct {
	// Snapshot's Sessions are those that the query selects and lists, in the order of rank and
	// the newest first.
	proxy.Snapshot

	Found   int `json:"sessions_found"`    // live sessions that the query selects
	LeftOut int `json:"sessions_left_out"` // those of them that Sessions does not list

	Version string  `json:"version"`
	Uptime  float64 `json:"uptime_seconds"`

	// Misdirected is nil unless a client used the page's address as its proxy of late.
	Misdirected *Misdirected `json:"misdirected,omitempty"`

	Live      Live    `json:"live"`      // counts all live sessions
	Encrypted Verdict `json:"encrypted"` // Live.Encrypted()

	// Outcomes count all sessions of clients that were opened or refused, the most frequent
	// first.
	Outcomes []Outcome `json:"outcomes"`

	Shaped     Shaped     `json:"shaped"`
	Throughput Throughput `json:"throughput"`
	Settings   []Setting  `json:"settings"`
}

// Outcome counts sessions with one outcome: "v1" by its cause, "refused" by its kind.
type Outcome struct {
	Outcome string  `json:"outcome"`         // v2, v1, passthrough or refused
	Cause   string  `json:"cause,omitempty"` // of v1 one of proxy.FallbackCauses, of refused one of proxy.RefusalKinds
	Count   uint64  `json:"count"`
	Share   float64 `json:"share"` // of all, from 0 to 1
}

// report returns a report with the sessions that q selects.
func (s *Server) report(q query) *Report {
	r, all := &Report{Settings: []Setting{}}, newCensus()
	var found [ranks]int
	r.Snapshot = s.selected(q.sessions, func(each *proxy.SessionInfo) bool {
		all.add(each)
		if !q.matches(each) {
			return false
		}
		r.Found++
		n := &found[rank(each)]
		*n++
		return *n <= q.sessions
	})
	r.Uptime, r.Live, r.Outcomes, r.Shaped.Live = r.Time.Sub(r.Started).Seconds(), all.live, outcomes(r.Snapshot), all.shaped
	r.Encrypted = r.Live.Encrypted()
	slices.Reverse(r.Sessions)
	slices.SortStableFunc(r.Sessions, func(a, b proxy.SessionInfo) int { return rank(&a) - rank(&b) })
	r.Sessions = r.Sessions[:min(q.sessions, len(r.Sessions))]
	r.LeftOut = r.Found - len(r.Sessions)
	return r
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

// serveReport answers requests for /api/status.
func (s *Server) serveReport(w http.ResponseWriter, r *http.Request, recent *recent, conns *conns) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		say(w, http.StatusBadRequest, "bad request: "+err.Error())
		return
	}
	now := s.report(q)
	now.Version, now.Throughput, now.Misdirected = s.Version, recent.throughput(), conns.lastMisdirected(time.Now())
	now.Shaped.LastDay = recent.fillerLastDay(fillerOf(&now.Snapshot))
	if s.Settings != nil {
		now.Settings = append(now.Settings, s.Settings()...)
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodHead {
		json.NewEncoder(w).Encode(now) // fails only if the client has left
	}
}
