// Package status shows what the proxy does, over HTTP: a page for people, the same
// as JSON, health checks, and metrics for Prometheus.
//
//	/             the page
//	/api/status   [Report], as JSON
//	/metrics      for Prometheus
//	/healthz      200 as long as the process answers
//	/readyz       200 as long as clients are accepted
//
// It only reads. Whoever asks, a web page in the user's browser among them, must
// first get past [guard]; docs/status.md describes the interface.
package status

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"bip324proxy/proxy"
)

// Server serves the status of a proxy.
type Server struct {
	// Snapshot is what it shows; see [proxy.Server.Snapshot].
	Snapshot func() proxy.Snapshot

	// Accepting says on how many listeners clients are accepted, and whether that has
	// ended for good; see [proxy.Server.Accepting]. Anybody may have it asked for, so
	// it should cost little. Nil means what Snapshot says.
	Accepting func() (listeners int, stopping bool)

	// Settings are those in force, without secrets. Nil means none to show.
	Settings func() []Setting

	// Version is the program's.
	Version string

	// Token is what must be shown; see [CheckToken]. If it is empty, listeners that
	// are on this machine alone need none, and others show nothing but health.
	Token string

	// Hosts are names and addresses, from [ParseHost], by which the page may be asked for,
	// besides addresses of this machine and localhost. Each must be under the user's
	// control: a web page of such a host can read the status.
	Hosts []string

	// LogLost returns how many lines of the program's log were lost. Nil means that they
	// are not counted, and that there is no such metric.
	LogLost func() uint64

	// Log takes what goes wrong with connections. Nil means slog.Default().
	Log *slog.Logger
}

// Setting is one of the program's, as it is in force.
type Setting struct {
	Name   string `json:"name"`   // as on the command line, without the dashes
	Value  any    `json:"value"`  // string, int, bool or []string; never a secret
	Origin string `json:"origin"` // where it was set: default, flag, environment, or FILE:LINE
}

const (
	// MaxConns is how many connections there are at a time; for a new one beyond them
	// the one that has waited longest is closed.
	MaxConns = 16

	headerTimeout = 5 * time.Second
	answerTimeout = 15 * time.Second // the answer's way out included
	idleTimeout   = 10 * time.Second // the page asks more often; others need not hold a place
	maxHeader     = 16 << 10         // bytes

	// stopTimeout is how long answers may go on that are under way at the end.
	stopTimeout = time.Second
)

// Serve answers on l until ctx ends, and returns nil then. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := cmp.Or(s.Log, slog.Default())
	recent := new(recent)
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		recent.sample(ctx, s.Snapshot)
	}()
	open := newConns()
	h := &http.Server{
		Handler:           s.handler(l.Addr(), recent, open),
		ConnContext:       open.context,
		ConnState:         open.state,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       answerTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true,
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		short, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if h.Shutdown(short) != nil {
			h.Close()
		}
	}()
	err := h.Serve(&listener{l, open})
	cancel()
	<-stopped
	<-sampled
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// handler is all that is served on a listener at addr.
func (s *Server) handler(addr net.Addr, recent *recent, open *conns) http.Handler {
	metrics := newMetrics(s)
	routes := map[string]route{
		"/healthz":    {health: true, HandlerFunc: healthy},
		"/readyz":     {health: true, HandlerFunc: s.ready},
		"/api/status": {HandlerFunc: open.inTurn(func(w http.ResponseWriter, r *http.Request) { s.report(w, r, recent) })},
		"/metrics":    {HandlerFunc: open.inTurn(metrics.ServeHTTP)},
	}
	for path, file := range pageFiles {
		routes[path] = route{HandlerFunc: open.inTurn(file.ServeHTTP)}
	}
	return newGuard(addr, s.Token, s.Hosts, routes)
}

func healthy(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	accepting := s.Accepting
	if accepting == nil {
		accepting = func() (int, bool) { now := s.Snapshot(); return len(now.Listeners), now.Stopping }
	}
	switch listeners, stopping := accepting(); {
	case stopping:
		say(w, http.StatusServiceUnavailable, "stopping")
	case listeners == 0:
		say(w, http.StatusServiceUnavailable, "not listening")
	default:
		say(w, http.StatusOK, "ok")
	}
}

// say answers with a line of text.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	w.Write([]byte(text + "\n"))
}
