// Package status serves the proxy's status over HTTP: a page for people, the same as JSON, health
// checks, and metrics for Prometheus.
//
//	/             the page
//	/api/status   [Report], as JSON
//	/metrics      for Prometheus
//	/healthz      200 as long as the process answers
//	/readyz       200 as long as clients are accepted
//
// It changes nothing. Each request, such as one by a web page in the user's browser, must pass
// [guard] first; docs/status.md describes the interface.
package status

import (
	"cmp"
	"context"
	"embed"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"bip324proxy/proxy"
)

// Server serves the status of a proxy.
type Server struct {
	// Snapshot returns what is shown; see [proxy.Server.Snapshot].
	Snapshot func() proxy.Snapshot

	// Select returns a snapshot with some of the sessions; see [proxy.Server.Select]. If it is
	// nil, Snapshot is used, which costs more.
	Select func(room int, list func(*proxy.SessionInfo) bool) proxy.Snapshot

	// Accepting returns on how many listeners clients are accepted, and whether the proxy is
	// stopping; see [proxy.Server.Accepting]. It must be cheap, since health checks are open
	// to anyone. If it is nil, Snapshot is used.
	Accepting func() (listeners int, stopping bool)

	// Token is the token that requests must have; see [CheckToken]. If it is empty, loopback
	// listeners and unix sockets require none, and others answer health checks only.
	Token string

	// Hosts are names and addresses, from [ParseHost], that a Host header may have besides
	// loopback addresses and localhost. Each must be under the user's control: a web page of
	// such a host can read the status.
	Hosts []string

	Version  string           // of the program
	Settings func() []Setting // in force, without secrets; nil if there are none to show
	LogLost  func() uint64    // lines of the program's log that were lost; nil if there is no metric of them
	Log      *slog.Logger     // gets errors of connections; nil is slog.Default()

	// OnSOCKS is called, at most once a minute, when a client speaks SOCKS: its proxy is set to the
	// page's address by mistake. It may be nil.
	OnSOCKS func(client net.Addr)
}

// Setting is a setting in force.
type Setting struct {
	Name   string `json:"name"`   // as on the command line, without the dashes
	Value  any    `json:"value"`  // string, int, bool or []string; never a secret
	Origin string `json:"origin"` // where it was set: default, flag, environment, or FILE:LINE
}

const (
	// MaxConns is the maximum number of connections; a new one beyond it evicts the one that
	// has been idle longest.
	MaxConns = 16

	headerTimeout = 5 * time.Second
	answerTimeout = 15 * time.Second // for reading the request and writing the answer
	idleTimeout   = 10 * time.Second // the page asks more often
	stopTimeout   = time.Second      // for answers under way when the server stops
	maxHeader     = 16 << 10         // bytes
)

// Serve answers requests on l until the context ends, then closes l and returns nil.
func (s *Server) Serve(until context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(until)
	defer cancel()
	recent := new(recent)
	conns := newConns(s.OnSOCKS)
	h := &http.Server{
		Handler:           s.handler(l.Addr(), recent, conns),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState:         conns.state,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       answerTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cmp.Or(s.Log, slog.Default()).Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true,
	}
	var background sync.WaitGroup
	background.Go(func() { recent.sample(ctx, func() proxy.Snapshot { return s.selected(0, nil) }) })
	background.Go(func() {
		<-ctx.Done()
		short, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if h.Shutdown(short) != nil {
			h.Close()
		}
	})
	err := h.Serve(&listener{l, conns})
	ended := until.Err() != nil // l may have been closed even before h was
	cancel()
	background.Wait()
	if ended {
		return nil
	}
	return err
}

// selected does what [proxy.Server.Select] does.
func (s *Server) selected(room int, list func(*proxy.SessionInfo) bool) proxy.Snapshot {
	if s.Select != nil {
		return s.Select(room, list)
	}
	now := s.Snapshot()
	all := slices.Backward(now.Sessions)
	now.Sessions = []proxy.SessionInfo{}
	for _, each := range all {
		if list != nil && list(&each) {
			now.Sessions = append(now.Sessions, each)
		}
	}
	slices.Reverse(now.Sessions)
	return now
}

// handler returns the handler for a listener at addr.
func (s *Server) handler(addr net.Addr, recent *recent, conns *conns) http.Handler {
	metrics := newMetrics(s)
	routes := map[string]route{
		"/healthz":    {public: true, HandlerFunc: healthy},
		"/readyz":     {public: true, HandlerFunc: s.ready},
		"/api/status": {HandlerFunc: conns.inTurn(func(w http.ResponseWriter, r *http.Request) { s.serveReport(w, r, recent, conns) })},
		"/metrics":    {HandlerFunc: conns.inTurn(metrics.ServeHTTP)},
	}
	for path, file := range pageFiles {
		routes[path] = route{HandlerFunc: conns.inTurn(file.ServeHTTP)}
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

// say sends a line of text.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	w.Write([]byte(text + "\n"))
}

//go:embed page
var page embed.FS

// pageFiles are the page's files, by path.
var pageFiles = map[string]pageFile{
	"/":           {"index.html", "text/html; charset=utf-8"},
	"/style.css":  {"style.css", "text/css; charset=utf-8"},
	"/page.js":    {"page.js", "text/javascript; charset=utf-8"},
	"/words.js":   {"words.js", "text/javascript; charset=utf-8"},
	"/dom.js":     {"dom.js", "text/javascript; charset=utf-8"},
	"/icon.js":    {"icon.js", "text/javascript; charset=utf-8"},
	"/rows.js":    {"rows.js", "text/javascript; charset=utf-8"},
	"/table.js":   {"table.js", "text/javascript; charset=utf-8"},
	"/figures.js": {"figures.js", "text/javascript; charset=utf-8"},
	"/icon.svg":   {"icon.svg", "image/svg+xml"},
}

type pageFile struct{ name, contentType string }

func (f pageFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.contentType)
	http.ServeFileFS(w, r, page, "page/"+f.name)
}
