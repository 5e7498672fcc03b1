// bip324-proxy is a local SOCKS5 proxy that gives any Bitcoin client BIP324
// (v2, encrypted) connections to its peers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/proxy"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// usageError is input that was wrong.
type usageError struct{ error }

// run is the program: its exit code is 0, 1 if something failed, or 2 if the
// input was wrong.
func run(args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).Run(args)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "bip324-proxy: %v\n", err)
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// serve is the program's main job.
func serve(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("there is no command %q; see bip324-proxy --help", c.Args().First())}
	}
	log, err := logger(c)
	if err != nil {
		return err
	}
	server, err := configure(c, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := server.Dialer.Peers.Close(); err != nil {
			log.Error("the peer memory could not be saved", "err", err)
		}
	}()
	listeners, err := listen(c, server)
	if err != nil {
		return err
	}
	if enough := proxy.SessionsForDescriptors(); server.MaxSessions > enough {
		log.Warn("there may be too few descriptors for so many sessions; raise their limit (ulimit -n) to six times as many",
			"max_sessions", server.MaxSessions, "enough_for", enough)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(30) // sessions are idle, mostly: memory is worth more than the processor's time
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		log.Info("listening", l.attrs(c, server)...)
		go func() { failed <- server.ServePeer(l, l.peer) }()
	}
	select {
	case err := <-failed:
		server.Close()
		return err
	case got := <-signals:
		log.Info("stopping; once more to stop at once", "signal", got.String(), "grace", c.Duration("grace"))
	}
	stop(server, c.Duration("grace"), signals)
	return nil
}

// stop drains the server until grace is over or another signal comes.
func stop(server *proxy.Server, grace time.Duration, signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		server.Shutdown(ctx)
		close(drained)
	}()
	select {
	case <-drained:
	case <-signals:
		server.Close()
		select {
		case <-drained: // with a line in the log for each session
		case <-time.After(time.Second):
		}
	}
}

// listener is one of the program's, and the peer that its clients are connected
// to if they are not to be asked.
type listener struct {
	net.Listener
	peer string
}

func (l listener) attrs(c *cli.Context, server *proxy.Server) []any {
	args := []any{"addr", l.Addr().String()}
	if l.peer != "" {
		args = append(args, "peer", l.peer)
	}
	if server.Upstream != nil {
		args = append(args, "upstream", server.Upstream.Address)
	}
	return append(args, "v1_fallback", c.String("v1-fallback"), "passthrough", c.String("passthrough"))
}

// listen opens all listeners: those of --listen and systemd, or the default one,
// and those of --peer.
func listen(c *cli.Context, server *proxy.Server) (all []listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
		}
	}()
	activated, err := proxy.Activated()
	if err != nil {
		return nil, err
	}
	for _, l := range activated {
		all = append(all, listener{l, ""})
	}
	specs := c.StringSlice("listen")
	if len(specs) == 0 && len(activated) == 0 {
		specs = []string{"127.0.0.1:1324"}
	}
	open := func(flag, spec, peer string) error {
		l, err := proxy.Listen(spec)
		if errors.As(err, new(*proxy.ListenError)) {
			return usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
		if err != nil {
			return fmt.Errorf("cannot listen: %w; if another program has that address, choose one with --%s", err, flag)
		}
		all = append(all, listener{l, peer})
		return nil
	}
	for _, spec := range specs {
		if err := open("listen", spec, ""); err != nil {
			return all, err
		}
	}
	for _, pair := range c.StringSlice("peer") {
		spec, peer, err := splitPeer(pair)
		if err != nil {
			return all, err
		}
		if err := open("peer", spec, peer); err != nil {
			return all, err
		}
	}
	for _, l := range all {
		switch {
		case server.Upstream != nil && server.Upstream.Address == l.Addr().String():
			return all, usageError{fmt.Errorf("--upstream: %v is this proxy itself; give Tor's address, such as socks5://127.0.0.1:9050", l.Addr())}
		case proxy.IsLocal(l.Addr()):
		case l.peer != "":
			return all, usageError{fmt.Errorf("--peer: %v is not on this machine alone, and these clients are not asked for a password; take a loopback address", l.Addr())}
		case server.Socks.Auth == nil:
			return all, usageError{fmt.Errorf("--listen: %v is not on this machine alone, and whoever reaches it could use the proxy; add --auth USER:PASSWORD, or take a loopback address, such as 127.0.0.1:1324", l.Addr())}
		}
	}
	return all, nil
}
