package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/journal"
	"bip324proxy/internal/listen"
	"bip324proxy/internal/logqueue"
	"bip324proxy/internal/signals"
	"bip324proxy/proxy"
	"bip324proxy/settings"
	"bip324proxy/transport/fallback"
)

// service is the program at its main job.
type service struct {
	current   atomic.Pointer[settings.Settings] // in force
	server    *proxy.Server
	listeners []listener
	page      net.Listener // of the status page, or nil
	peers     *fallback.Peers
	peersLost error           // why the file of known peers is not used, if it should be
	queue     *logqueue.Queue // log's
	log       *slog.Logger
	level     *slog.LevelVar // log's
	stderr    io.Writer

	stops   stops
	reloads chan os.Signal            // SIGHUP, where it asks for a reload
	end     atomic.Pointer[time.Time] // when the process ends at the latest, once that is known
	unsaved atomic.Bool               // the known peers are not saved yet
}

// settings are those in force. It may be called at any time.
func (s *service) settings() *settings.Settings { return s.current.Load() }

// serve is the program's main job.
func serve(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("there is no command %q; see bip324-proxy --help", c.Args().First())}
	}
	signals.Catch() // and until the process has ended
	s := &service{level: new(slog.LevelVar), stderr: c.App.ErrWriter}
	done := make(chan struct{})
	defer close(done)
	s.awaitStops(done)
	set, err := loadUnless(s.stops.first, c)
	if err != nil || set == nil {
		return err
	}
	s.current.Store(set)
	format := logFormat{name: set.LogFormat, journal: journal.Is(s.stderr)}
	s.queue = logqueue.New(s.stderr, linesLost(format))
	defer s.endLog()
	s.log = format.logger(s.queue, s.level)
	s.setLevel()
	s.warnOfFiles()
	if err := s.openPeers(); err != nil {
		return err
	}
	s.unsaved.Store(set.KnownPeers != "")
	defer func() {
		s.savePeers()
		s.unsaved.Store(false)
	}()
	opening := &opening{listen: listen.Open, log: s.log, stop: s.stops.first}
	if s.page, err = listenStatus(set, opening); err != nil {
		return unlessStopped(err)
	}
	if s.page != nil {
		defer s.page.Close()
	}
	s.server = &proxy.Server{
		Policy:        s.policy(),
		MaxSessions:   set.Sessions(),
		MessageMemory: set.MessageMemory << 20,
		ClientRate:    set.ClientRate,
		Log:           s.log,
	}
	s.warnOfClients()
	defer s.showStatus()() // from before addresses are waited for to how sessions end
	var missing []error
	if s.listeners, missing, err = openListeners(set, opening); err != nil {
		return unlessStopped(err)
	}
	for _, err := range missing {
		s.log.Info("not listening on an address by default that this machine does not have", "err", errors.Unwrap(err))
	}
	if enough := proxy.SessionsForDescriptors(set.Descriptors()); set.MaxSessions > enough {
		s.log.Warn("there may be too few descriptors for so many sessions; raise their limit (ulimit -n) to six times as many",
			"max_sessions", set.MaxSessions, "enough_for", enough)
	}
	defer runtime.KeepAlive(spareMemory())
	return s.run(c)
}

// unlessStopped returns err, but no error if a signal ended the start.
func unlessStopped(err error) error {
	if err == errStopped {
		return nil
	}
	return err
}

// spareMemory has the heap collected early, unless the environment says otherwise:
// sessions are idle, mostly, and memory is worth more than the processor's time. The
// caller keeps the ballast. Never touched, that takes no memory, but counts as the
// heap's, which so grows by 8 MB before it is collected: with few sessions 12 % would
// be next to nothing.
func spareMemory() (ballast []byte) {
	switch {
	case os.Getenv("GOGC") != "":
	case os.Getenv("GOMEMLIMIT") != "": // it would count the ballast, too
		debug.SetGCPercent(30)
	default:
		debug.SetGCPercent(12)
		ballast = make([]byte, 64<<20)
	}
	return ballast
}

// run serves until a signal ends it, or a listener fails.
func (s *service) run(c *cli.Context) error {
	done := make(chan struct{})
	defer close(done)
	loaded := loadAt(s.reloads, c, done)

	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		s.log.Info("listening", l.attrs(s.settings())...)
		go func() { failed <- s.server.ServePeer(l, l.peer) }()
	}
	s.warnOfIdleClients()
	if u := s.settings().Policy.Upstream; u != nil && u.Credentials != nil && s.settings().Policy.Socks.Auth == nil {
		s.log.Info("the upstream proxy gets the user name and password of its URL, and those of clients are not passed on")
	}
	s.notify("READY=1")
	probing, stopProbing := context.WithCancel(context.Background())
	defer stopProbing()
	go s.server.ProbeUpstream(probing)
	for {
		select {
		case err := <-failed:
			s.server.Close()
			return err
		case next := <-loaded:
			s.reload(next)
		case <-s.stops.first:
			grace := s.settings().Grace
			s.log.Info("stopping; once more to stop at once", "signal", s.stops.signal.String(), "grace", grace)
			s.notify("STOPPING=1")
			s.stop(grace)
			return nil
		}
	}
}

// notify tells systemd the state of the service.
func (s *service) notify(state string) {
	if err := notify(state); err != nil {
		s.log.Warn("systemd cannot be told the state of the service", "state", state, "err", err)
	}
}

// policy returns the settings' policy, with the known peers.
func (s *service) policy() proxy.Policy {
	p := s.settings().Policy
	p.Dialer.Peers = s.peers
	return p
}

// setLevel makes the log's level that of the settings.
func (s *service) setLevel() {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.settings().LogLevel)); err == nil {
		s.level.Set(level)
	}
}

func (s *service) warnOfFiles() {
	for _, file := range s.settings().ExposedFiles() {
		s.log.Warn("every user of this machine can read the file, and it has a password; make it the file of the user that the proxy runs as (chown), and run chmod 600 on it", "file", file)
	}
	if s.settings().AuthHasOuterSpace() {
		s.log.Warn("the line in the file begins or ends with a space, which is part of the user name or password; if it should not be, remove it",
			"file", s.settings().AuthFile)
	}
}

// warnOfClients warns of networks in --clients that admit everybody.
func (s *service) warnOfClients() {
	for _, n := range s.settings().Policy.Clients.Everybody() {
		s.log.Warn("every program that reaches the proxy may use it without a password, from wherever; give --clients the networks of its clients", "clients", n.String())
	}
}

// warnOfIdleClients warns of a --clients that has no effect.
func (s *service) warnOfIdleClients() {
	if len(s.settings().Clients) > 0 && !slices.ContainsFunc(s.listeners, func(l listener) bool { return !listen.IsLocal(l.Addr()) }) {
		s.log.Warn("--clients has no effect, for all listeners are on this machine alone; to let others in, add --listen with an address that they reach",
			"clients", s.settings().Clients)
	}
}

// logFormat is what the lines of the log look like.
type logFormat struct {
	name    string // text or json
	journal bool   // systemd's journal reads them
}

// linesLost returns what makes the line of a log that says that n lines of it were lost.
func linesLost(format logFormat) func(n uint64) []byte {
	return func(n uint64) []byte {
		var line bytes.Buffer
		format.logger(&line, slog.LevelError).Error("lines lost", "n", n)
		return line.Bytes()
	}
}

func (f logFormat) logger(w io.Writer, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	handler := func(w io.Writer) slog.Handler {
		if f.name == "json" {
			return slog.NewJSONHandler(w, options)
		}
		return slog.NewTextHandler(w, options)
	}
	if f.journal {
		return slog.New(journal.NewHandler(w, handler))
	}
	return slog.New(handler(w))
}

// openPeers opens the known peers, which are kept in a file or, if there is none,
// in this process only.
func (s *service) openPeers() error {
	set := s.settings()
	s.peers = new(fallback.Peers)
	if set.KnownPeers == "" {
		return nil
	}
	peers, err := fallback.OpenPeers(set.KnownPeers)
	switch {
	case err == nil:
	case errors.As(err, new(*fallback.CorruptPeersError)):
		s.log.Warn("going on with what could be read", "err", err)
	case set.Policy.Dialer.Mode == fallback.Never && !isWrongPath(err):
		s.peersLost = err
		s.log.Warn("going on with known peers in this process only; with --v1-fallback never nothing depends on them", "err", err)
		return nil
	default:
		return fmt.Errorf("%s: %w", set.Where("known-peers"), err)
	}
	if n := peers.Distrusted(); n > 0 {
		s.log.Info("known peers have expired by this machine's clock, or expire too late; as the clock may be wrong, or may have been, they stay known for a week of running",
			"peers", n, "file", set.KnownPeers)
	}
	peers.SaveFailed = func(err error) { s.log.Error("known peers could not be saved", "err", err) }
	s.peers = peers
	return nil
}

// isWrongPath reports whether the file of known peers failed because of what the
// user wrote, and not because of the machine's state.
func isWrongPath(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fallback.ErrPeersFile)
}
