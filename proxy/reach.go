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

// Upstream is whether the upstream proxy could be reached when it was last tried.
type Upstream struct {
	Address string    `json:"address"` // its URL, without credentials
	State   string    `json:"state"`   // unknown, reached or failed
	Since   time.Time `json:"since"`   // of the first attempt that came out so
	Reason  string    `json:"reason,omitempty"`
	Hint    string    `json:"hint,omitempty"` // what the user can do about it
}

// reach keeps whether an upstream proxy can be reached.
type reach struct {
	address string

	mu    sync.Mutex
	tried bool
	since time.Time // of the first attempt that came out as the last
	err   *socks.UpstreamError
}

// upstream returns whether the upstream proxy can be reached, or nil if there is none.
func (s *Server) upstream() *Upstream {
	r := s.policy().reach
	if r == nil {
		return nil
	}
	r.mu.Lock()
	u, err, tried := &Upstream{Address: r.address, State: "unknown", Since: r.since}, r.err, r.tried
	r.mu.Unlock()
	switch {
	case err != nil:
		u.State, u.Reason, u.Hint = "failed", unreachable(err), s.hint(Failure{Kind: classify(err).kind, Err: err})
	case tried:
		u.State = "reached"
	}
	return u
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
	var failed *socks.UpstreamError
	errors.As(err, &failed)
	r.mu.Lock()
	first, changed := !r.tried, (r.err == nil) != (failed == nil)
	if first || changed {
		r.since = time.Now()
	}
	r.tried, r.err = true, failed
	r.mu.Unlock()
	switch {
	case !changed:
	case failed == nil:
		s.logFolded("upstream reached", slog.LevelInfo, nil, "the upstream proxy is reached again", "upstream", r.address)
	default:
		s.logFolded("upstream failed", slog.LevelWarn, nil, "the upstream proxy cannot be used",
			append([]any{"reason", unreachable(failed)}, s.hintAttr(failed)...)...)
	}
}

// ProbeUpstream tries whether the upstream proxy answers, if there is one: it greets it
// and asks for nothing. The log and the Snapshot have the outcome.
func (s *Server) ProbeUpstream(ctx context.Context) {
	s.mu.Lock()
	s.setup()
	s.mu.Unlock()
	if u := s.policy().Upstream; u != nil {
		u.Probe(ctx)
	}
}
