package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// note takes the outcome of an attempt and reports whether the one before was another.
func (r *reach) note(err *socks.UpstreamError) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if changed = !r.tried || (r.err == nil) != (err == nil); changed {
		r.since = time.Now()
	}
	first := !r.tried
	r.tried, r.err = true, err
	return changed && !(first && err == nil)
}

// state returns nil where r is.
func (r *reach) state() *Upstream {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &Upstream{Address: r.address, State: "unknown", Since: r.since}
	switch {
	case r.err != nil:
		u.State, u.Reason, u.Hint = "failed", unreachable(r.err), upstreamHint(r.err)
	case r.tried:
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

// upstreamHint says what to do about it.
func upstreamHint(e *socks.UpstreamError) string {
	if errors.Is(e, errOwnUpstream) {
		return "name another proxy in --upstream"
	}
	const without = "; without it nothing is connected to"
	_, port, _ := net.SplitHostPort(e.Upstream)
	switch {
	case e.Stage != socks.StageDial:
		return "see that --upstream names a SOCKS5 proxy, with its user name and password if it has one (bip324-proxy check says what it is)" + without
	case port == "9050":
		return "start Tor, or correct --upstream (the Tor Browser's port is 9150)" + without
	case port == "9150":
		return "start the Tor Browser, or correct --upstream (Tor's own port is 9050)" + without
	}
	return "start that proxy, or correct --upstream" + without
}

// noteReach notes the outcome of an attempt to reach an upstream proxy, and logs when it
// is another than before.
func (s *Server) noteReach(r *reach, err error) {
	var failed *socks.UpstreamError
	errors.As(err, &failed)
	if !r.note(failed) {
		return
	}
	if failed == nil {
		s.folded.upstreamUp.line(nil, func(_ clientSet, more ...any) {
			s.log().Info("the upstream proxy is reached again", append([]any{"upstream", r.address}, more...)...)
		})
		return
	}
	s.folded.upstreamDown.line(nil, func(_ clientSet, more ...any) {
		s.log().Warn("the upstream proxy cannot be used", append([]any{"reason", unreachable(failed), "hint", upstreamHint(failed)}, more...)...)
	})
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
