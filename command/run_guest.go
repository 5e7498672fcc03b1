package command

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/inherited"
	"bip324proxy/proxy"
	"bip324proxy/settings"
)

// leaveTimeout is how long sessions may take to end once COMMAND has; then they are interrupted.
const leaveTimeout = 250 * time.Millisecond

// guest is a COMMAND whose connections go through the proxy.
type guest struct {
	runOptions
	log     *slog.Logger
	lines   io.Writer // takes lines in the order of the log's
	lookups atomic.Uint64

	serve   func([]net.Listener) // its connections
	lookup  func(ctx context.Context, name string) ([]netip.Addr, error)
	end     func() // ends its sessions
	summary func() summary
}

// runGuest is the action of run.
func runGuest(c *cli.Context) error {
	o, err := readRunOptions(c)
	if err != nil {
		return err
	}
	set, err := settings.Load(c)
	if err != nil {
		return err
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a log that nobody reads must not end the proxy
	s := &service{level: new(slog.LevelVar), stderr: c.App.ErrWriter, prefix: logPrefix, onlyGiven: true, ready: func() {}}
	if o.logFile != "" {
		f, err := os.OpenFile(o.logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("--log-file: %w", err)
		}
		defer f.Close()
		s.stderr, s.prefix = f, ""
	} else if !set.IsGiven("log-level") {
		set.LogLevel = "warn" // stderr is COMMAND's
	}
	if len(o.publish) > 0 {
		s.reserved = 2*maxPublished + len(o.publish)
	}
	if o.proxy != nil {
		return forwardGuest(s, set, o)
	}
	return s.with(set, func() error {
		g := &guest{runOptions: o, log: s.log, lines: s.queue, lookup: s.server.Lookup}
		g.serve = func(listeners []net.Listener) {
			for _, l := range listeners {
				go s.server.ServeTransparent(l)
			}
		}
		g.end = func() {
			ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
			defer cancel()
			s.server.Shutdown(ctx)
		}
		g.summary = func() summary { return serverSummary(s.server.Snapshot(), !set.LogAddresses) }
		failed, stop := s.serve()
		defer stop()
		go func() {
			for range s.listeners {
				if err := <-failed; err != proxy.ErrServerClosed {
					s.log.Error("a listener failed", "err", err)
				}
			}
		}()
		return g.run()
	})
}

// run runs COMMAND. The error has its exit code, unless that is 0.
func (g *guest) run() error {
	var listeners []net.Listener
	for _, p := range g.publish {
		l, err := p.open()
		if err != nil {
			return err
		}
		defer l.Close()
		listeners = append(listeners, l)
	}
	f, err := openFence(g.fence, len(g.publish) > 0, g.log)
	if err != nil {
		return err
	}
	defer f.close()
	for i, p := range g.publish {
		if f.dial == nil {
			listeners[i].Close()
			g.log.Warn("--publish has no effect: the command listens on this machine's own loopback", "publish", p.spec)
			continue
		}
		go p.serve(listeners[i], g.log, f.dial)
	}
	g.serve(serveNames(func(ctx context.Context, name string) ([]netip.Addr, error) {
		g.lookups.Add(1)
		return g.lookup(ctx, name)
	}, f, g.log))
	started := false
	err = supervise(func() (*os.Process, error) {
		process, err := f.start(g.path, g.args)
		if err != nil {
			return nil, startError(g.args[0], err)
		}
		started = true
		if err := inherited.Release(); err != nil {
			g.log.Warn("the proxy keeps files of the command open", "err", err)
		}
		return process, nil
	})
	g.end()
	if started {
		g.tellSummary()
	}
	return err
}
