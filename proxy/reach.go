package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"bip324proxy/socks"
)

// Upstream is whether an upstream proxy could be reached when it was last tried.
type Upstream struct {
	To      string    `json:"to,omitempty"` // the rule of a route
	Address string    `json:"address"`      // its URL, without credentials
	State   string    `json:"state"`        // unknown, reached or failed
	Since   time.Time `json:"since"`        // of the first attempt that came out so
	Reason  string    `json:"reason,omitempty"`
	Hint    string    `json:"hint,omitempty"` // what the user can do about it
}

// reach keeps whether an upstream proxy can be reached.
type reach struct {
	address string

	mu  sync.Mutex
	now Upstream
}

// upstreams returns whether the Upstream of the policy, nil if there is none, and those of
// its Routes can be reached.
func (s *Server) upstreams() (upstream *Upstream, routes []Upstream) {
	p := s.policy()
	if p.Upstream != nil {
		now := p.reaches[p.Upstream.String()].get()
		upstream = &now
	}
	for _, r := range p.Routes {
		if r.Upstream == nil {
			continue
		}
		now := p.reaches[r.Upstream.String()].get()
		now.To = r.To.String()
		routes = append(routes, now)
	}
	return upstream, routes
}

func (r *reach) get() Upstream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// unreachable says what is wrong with the upstream proxy.
func unreachable(e *socks.UpstreamError) string {
	if e.Stage == socks.StageDial {
		return fmt.Sprintf("the upstream proxy %s cannot be reached: %s", e.Upstream, e.Cause())
	}
	return fmt.Sprintf("the upstream proxy %s cannot be used: %s", e.Upstream, e.Cause())
}

// noteReach notes the outcome of an attempt to reach an upstream proxy, and logs that it
// failed after it had not, or the other way round.
func (s *Server) noteReach(r *reach, err error) {
	now := Upstream{Address: r.address, State: "reached", Since: time.Now()}
	var failed *socks.UpstreamError
	if errors.As(err, &failed) {
		now.State, now.Reason, now.Hint = "failed", unreachable(failed), s.hint(Failure{Kind: refusalOf(failed).kind, Err: failed})
	}
	r.mu.Lock()
	before := r.now
	if now.State == before.State {
		now.Since = before.Since
	}
	r.now = now
	r.mu.Unlock()
	switch {
	case now.State == before.State:
	case failed != nil:
		s.logFolded("upstream failed "+r.address, slog.LevelWarn, nil, "the upstream proxy cannot be used",
			append([]any{"reason", now.Reason}, hintAttr(now.Hint)...)...)
	case before.State == "failed":
		s.logFolded("upstream reached "+r.address, slog.LevelInfo, nil, "the upstream proxy is reached again", "upstream", r.address)
	}
}

// ProbeUpstream tries whether the upstream proxies answer: it greets each and asks for
// nothing. The log and the Snapshot have the outcome.
func (s *Server) ProbeUpstream(ctx context.Context) {
	s.mu.Lock()
	s.setup()
	s.mu.Unlock()
	var probes sync.WaitGroup
	for _, r := range s.policy().UpstreamRoutes() {
		probes.Go(func() { r.Upstream.Probe(ctx) })
	}
	probes.Wait()
}
