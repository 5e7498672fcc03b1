package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/logqueue"
	"bip324proxy/internal/signals"
	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// service is the program at its main job.
type service struct {
	current   atomic.Pointer[settings] // in force
	server    *proxy.Server
	listeners []listener
	page      net.Listener // of the status page, or nil
	peers     *transport.Peers
	queue     *logqueue.Queue // log's
	log       *slog.Logger
	level     *slog.LevelVar // log's
	stderr    io.Writer

	stops   stops
	end     atomic.Pointer[time.Time] // when the process ends at the latest, once that is known
	unsaved atomic.Bool               // the peer memory's file is yet to be written
}

// settings are those in force. It may be called at any time.
func (s *service) settings() *settings { return s.current.Load() }

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
	settings, err := loadUnless(s.stops.first, c)
	if err != nil || settings == nil {
		return err
	}
	s.current.Store(settings)
	s.queue = logqueue.New(s.stderr, linesLost(settings.logFormat))
	defer s.endLog()
	s.log = logger(s.queue, settings.logFormat, s.level)
	s.setLevel()
	s.warnOfExposed()
	if s.peers, err = openPeers(settings, s.log); err != nil {
		return err
	}
	s.unsaved.Store(settings.peerMemory != "")
	defer func() {
		s.savePeers()
		s.unsaved.Store(false)
	}()
	if s.page, err = listenStatus(settings); err != nil {
		return err
	}
	if s.page != nil {
		defer s.page.Close()
	}
	if s.listeners, err = listen(settings); err != nil {
		return err
	}
	s.server = &proxy.Server{
		Policy:        s.policy(),
		MaxSessions:   settings.sessions(),
		MessageMemory: settings.messageMemory << 20,
		ClientRate:    settings.clientRate,
		Log:           s.log,
	}
	if enough := proxy.SessionsForDescriptors(settings.descriptors()); settings.maxSessions > enough {
		s.log.Warn("there may be too few descriptors for so many sessions; raise their limit (ulimit -n) to six times as many",
			"max_sessions", settings.maxSessions, "enough_for", enough)
	}
	defer runtime.KeepAlive(spareMemory())
	return s.run(c)
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
	defer s.showStatus()() // to the last, so that it shows how sessions end
	done := make(chan struct{})
	defer close(done)
	loaded := loadAt(signals.Hangups, c, done)

	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		s.log.Info("listening", l.attrs(s.settings())...)
		go func() { failed <- s.server.ServePeer(l, l.peer) }()
	}
	s.notify("READY=1")
	for {
		select {
		case err := <-failed:
			s.server.Close()
			return err
		case next := <-loaded:
			s.reload(next)
		case <-s.stops.first:
			grace := s.settings().grace
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

// policy is the settings' policy, with the memory of peers.
func (s *service) policy() proxy.Policy {
	p := s.settings().policy
	p.Dialer.Peers = s.peers
	return p
}

// setLevel makes the log's level that of the settings.
func (s *service) setLevel() {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.settings().logLevel)); err == nil {
		s.level.Set(level)
	}
}

func (s *service) warnOfExposed() {
	for _, file := range s.settings().exposed() {
		s.log.Warn("every user of this machine can read the file, and it has a password; run chmod 600 on it", "file", file)
	}
}

// linesLost returns what makes the line of a log that says that n lines of it were lost.
func linesLost(format string) func(n uint64) []byte {
	return func(n uint64) []byte {
		var line bytes.Buffer
		logger(&line, format, slog.LevelError).Error("lines lost", "n", n)
		return line.Bytes()
	}
}

func logger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// openPeers returns the memory that is kept in a file, or in this process only if
// there is none.
func openPeers(s *settings, log *slog.Logger) (*transport.Peers, error) {
	if s.peerMemory == "" {
		return new(transport.Peers), nil
	}
	peers, err := transport.OpenPeers(s.peerMemory)
	if errors.As(err, new(*transport.CorruptPeersError)) {
		log.Warn("going on with what could be read", "err", err)
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.given("peer-memory"), err)
	}
	peers.SaveFailed = func(err error) { log.Error("the peer memory could not be saved", "err", err) }
	return peers, nil
}
