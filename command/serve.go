package command

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/hints"
	"bip324proxy/internal/listen"
	"bip324proxy/internal/logqueue"
	"bip324proxy/internal/signals"
	"bip324proxy/proxy"
	"bip324proxy/settings"
	"bip324proxy/status"
	"bip324proxy/transport/fallback"
)

// service is the running proxy with its listeners, status page and log.
type service struct {
	current   atomic.Pointer[settings.Settings] // in force
	server    *proxy.Server
	listeners []listener
	socks     atomic.Pointer[[]string] // addresses of the listeners for SOCKS; nil until they are open
	page      net.Listener             // of the status page, or nil
	peers     *fallback.Peers
	peersLost error           // why the file of known peers could not be opened
	queue     *logqueue.Queue // log's
	log       *slog.Logger
	level     *slog.LevelVar // log's
	stderr    io.Writer

	// Of the command run; zero for the service.
	prefix    string // of each line of the log
	onlyGiven bool   // neither systemd's listeners nor those of the default addresses are opened
	reserved  int    // descriptors besides those of the settings

	stops   stops
	reloads chan os.Signal            // SIGHUP, if it asks for a reload
	end     atomic.Pointer[time.Time] // when the process ends at the latest; nil before it is stopped
	unsaved atomic.Bool               // the known peers are not saved yet
	ready   func()                    // called once it listens
}

// settings returns the settings in force.
func (s *service) settings() *settings.Settings { return s.current.Load() }

// serve runs the service until a signal stops it.
func serve(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{unknownCommand(c.App, c.Args().First())}
	}
	signals.Catch() // until the process ends
	return runService(c, func() {})
}

// runService runs the service until package signals says to stop. It calls ready once the
// service listens.
func runService(c *cli.Context, ready func()) error {
	s := &service{level: new(slog.LevelVar), stderr: c.App.ErrWriter, ready: ready}
	done := make(chan struct{})
	defer close(done)
	s.awaitStops(done)
	loaded := s.loadings(c, done)
	select {
	case first := <-loaded:
		if first.err != nil {
			return first.err
		}
		return s.with(first.settings, func() error { return s.run(loaded) })
	case <-s.stops.first:
		return errStopped
	}
}

// with calls run between the set-up of all but the sessions, by the settings in force, and its
// end.
func (s *service) with(set *settings.Settings, run func() error) (err error) {
	s.current.Store(set)
	s.setLevel()
	s.log, s.queue = newLog(s.stderr, s.prefix, set.LogFormat, s.level)
	defer s.endLog()
	if err := s.openPeers(); err != nil {
		return err
	}
	s.unsaved.Store(set.KnownPeers != "")
	defer func() {
		s.savePeers()
		s.unsaved.Store(false)
	}()
	opening := &opening{listen: listen.Open, log: s.log, stop: s.stops.first, onlyGiven: s.onlyGiven}
	if s.page, err = openStatus(set, opening); err != nil {
		return err
	}
	if s.page != nil {
		defer s.page.Close()
	}
	s.server = &proxy.Server{
		Policy:          s.policy(),
		MaxSessions:     cmp.Or(set.MaxSessions, proxy.DefaultMaxSessions(set.Descriptors()+s.reserved)),
		MessageMemory:   set.MessageMemory << 20,
		ClientRate:      set.ClientRate,
		InboundSessions: set.InboundSessions,
		Hint:            hints.For,
		Log:             s.log,
	}
	defer s.showStatus()() // from before the wait for an address until all sessions have ended
	if err := opening.awaitBind(set); err != nil {
		return err
	}
	var missing []error
	if s.listeners, missing, err = openListeners(set, opening); err != nil {
		return err
	}
	s.server.SetPolicy(s.policy()) // now with the shapes of listeners
	s.socks.Store(socksAddresses(s.listeners))
	for _, err := range missing {
		s.log.Info("default address skipped: this machine does not have it", "err", errors.Unwrap(err))
	}
	if enough := proxy.SessionsForDescriptors(set.Descriptors()); set.MaxSessions > enough {
		s.log.Warn("the file descriptor limit is too low for max-sessions; raise it (ulimit -n)",
			"max_sessions", set.MaxSessions, "enough_for", enough, "needs", 6*set.MaxSessions+set.Descriptors()+100)
	}
	if len(set.Inbound) > 0 && set.MaxSessions == 0 && set.Sessions() < fewSessions {
		s.log.Warn("the file descriptor limit leaves few sessions for clients; raise it (ulimit -n), or lower inbound-sessions",
			"inbound_sessions", set.InboundSessions, "client_sessions", set.Sessions())
	}
	defer runtime.KeepAlive(spareMemory())
	done := make(chan struct{})
	defer close(done)
	if os.Getenv("GOGC") == "" { // else its user decides when garbage is collected
		go collectWhenQuiet(heapAllocated, freeMemory, done)
	}
	return run()
}

// serve serves the listeners until stop is called and the server is closed. failed receives the
// errors of those that fail.
func (s *service) serve() (failed chan error, stop func()) {
	failed = make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		s.log.Info("listening", l.attrs(s.settings())...)
		go func() {
			switch {
			case l.inbound != nil:
				failed <- s.server.ServeInbound(l, *l.inbound)
			case l.transparent != "":
				failed <- s.server.ServeTransparent(l)
			default:
				failed <- s.server.ServePeer(l, l.peer)
			}
		}()
	}
	s.warnOfSettings()
	s.warnOfBind()
	s.adviseInbound()
	s.logShapes()
	if s.settings().HasUpstreamCredentials() && s.settings().Policy.Socks.Auth == nil {
		s.log.Info("the upstream proxy gets the credentials in its URL; those of clients are not passed on")
	}
	probing, stop := context.WithCancel(context.Background())
	go s.server.ProbeUpstream(probing)
	return failed, stop
}

// run serves until a signal stops it or a listener fails.
func (s *service) run(loaded <-chan loading) error {
	failed, stop := s.serve()
	defer stop()
	s.notify("READY=1")
	s.ready()
	for {
		select {
		case err := <-failed:
			s.server.Close()
			return err
		case next := <-loaded:
			s.reload(next.settings, next.err)
		case <-s.stops.first:
			grace := s.settings().Grace
			message := "shutting down"
			if s.stops.interactive {
				message += "; press Ctrl-C again to stop now"
			}
			s.log.Info(message, "signal", s.stops.signal.String(), "grace", grace)
			s.notify("STOPPING=1")
			s.stop(grace)
			return nil
		}
	}
}

// policy returns the policy of the settings, with the known peers and the shapes of the listeners
// that are open.
func (s *service) policy() proxy.Policy {
	p := s.settings().Policy
	p.Dialer.Peers = s.peers
	p.Shapes = s.shapes()
	return p
}

// notify tells systemd the state of the service, such as READY=1 (sd_notify(3)), if
// systemd asks for it.
func (s *service) notify(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") { // "@" is an abstract one
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = conn.Write([]byte(state))
		conn.Close()
	}
	if err != nil {
		s.log.Warn("could not notify systemd", "state", state, "err", err)
	}
}

// logMisdirected logs that a SOCKS client connected to the status page.
func (s *service) logMisdirected(client net.Addr) {
	var args []any
	if listen := s.socks.Load(); listen != nil {
		args = append(args, "listen", strings.Join(*listen, ","))
	}
	if _, ok := client.(*net.TCPAddr); ok && s.settings().LogAddresses {
		args = append(args, "client", client.String())
	}
	s.log.Warn("a SOCKS client connected to the status page; set its proxy to an address of --listen instead", args...)
}

// showStatus serves the status page, if there is one, until stop is called.
func (s *service) showStatus() (stop func()) {
	l := s.page
	if l == nil {
		return func() {}
	}
	page := status.Server{
		Snapshot:  s.server.Snapshot,
		Select:    s.server.Select,
		Accepting: s.server.Accepting,
		Settings:  func() []status.Setting { return s.settings().Shown() },
		Version:   bareVersion(),
		Token:     s.settings().Token,
		Hosts:     s.settings().Hosts,
		LogLost:   s.queue.Lost,
		Log:       s.log,
		OnSOCKS:   s.logMisdirected,
	}
	where := []any{"addr", l.Addr().String()}
	if _, ok := l.Addr().(*net.TCPAddr); ok {
		where = append(where, "url", "http://"+l.Addr().String()+"/")
	}
	s.log.Info("status page", where...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := page.Serve(ctx, l); err != nil {
			s.log.Error("status page failed", "err", err)
		}
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-s.stops.second:
		case <-time.After(pageTimeout):
		}
	}
}
