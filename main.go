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
	app := &cli.App{
		Name:  "bip324-proxy",
		Usage: "SOCKS5 proxy that gives any Bitcoin client encrypted (BIP324, v2) peer connections",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "listen", Usage: "`ADDRESS` to take clients on, HOST:PORT or unix:/PATH; may be repeated (default: 127.0.0.1:1324)", EnvVars: env("LISTEN")},
			&cli.StringFlag{Name: "auth", Usage: "`USER:PASSWORD` that SOCKS clients must give; needed where --listen is not on this machine alone", EnvVars: env("AUTH")},
			&cli.StringFlag{Name: "auth-file", Usage: "`FILE` with USER:PASSWORD in its first line, instead of --auth", EnvVars: env("AUTH_FILE")},
			&cli.StringFlag{Name: "upstream", Usage: "SOCKS5 proxy, such as Tor, that everything goes through: `URL` socks5://[USER:PASSWORD@]HOST:PORT or socks5+unix:///PATH", EnvVars: env("UPSTREAM")},
			&cli.StringFlag{Name: "v1-fallback", Value: "never", Usage: "`WHERE` plaintext v1 may be spoken to peers without v2: never, overlay (.onion and CJDNS), always", EnvVars: env("V1_FALLBACK")},
			&cli.StringFlag{Name: "peer-memory", Usage: "`FILE` to remember in, across restarts, which peers speak v2 and which do not", EnvVars: env("PEER_MEMORY")},
			&cli.StringSliceFlag{Name: "allow", Usage: "`RULE`, HOST or HOST:PORT, for where clients may go, before any --deny; may be repeated", EnvVars: env("ALLOW")},
			&cli.StringSliceFlag{Name: "deny", Usage: "`RULE`, HOST or HOST:PORT, for where clients may not go: an address, 10.0.0.0/8, NAME, *.NAME, private, or *; may be repeated", EnvVars: env("DENY")},
			&cli.StringFlag{Name: "passthrough", Value: "allow", Usage: "`POLICY` for clients that do not speak v1 (v2 already, or not Bitcoin): allow, deny", EnvVars: env("PASSTHROUGH")},
			&cli.StringSliceFlag{Name: "peer", Usage: "`ADDRESS=PEER`: take clients on ADDRESS, without SOCKS, and connect them to PEER, HOST:PORT; may be repeated", EnvVars: env("PEER")},
			&cli.IntFlag{Name: "message-memory", Value: 128, Usage: "`MIB` of memory for messages of over 16 KiB on their way, of all sessions together; those beyond it wait", EnvVars: env("MESSAGE_MEMORY")},
			&cli.IntFlag{Name: "max-sessions", Usage: "`NUMBER` of sessions at a time; clients beyond it are refused (default: what the descriptor limit is enough for, at most 4096)", EnvVars: env("MAX_SESSIONS")},
			&cli.IntFlag{Name: "client-rate", Value: 20, Usage: "`NUMBER` of connections a second that one address may make where --listen is not on this machine alone", EnvVars: env("CLIENT_RATE")},
			&cli.DurationFlag{Name: "grace", Value: 10 * time.Second, Usage: "`TIME` for sessions to end after the first SIGINT or SIGTERM", EnvVars: env("GRACE")},
			&cli.StringFlag{Name: "log-level", Value: "info", Usage: "`LEVEL`: debug, info, warn, error", EnvVars: env("LOG_LEVEL")},
			&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`FORMAT`: text, json", EnvVars: env("LOG_FORMAT")},
		},
		Commands: []*cli.Command{{
			Name:  "demo",
			Usage: "show in one minute what it does: a v1 client, the proxy and a v2 node on this machine",
			Action: func(c *cli.Context) error {
				if c.Args().Present() {
					return usageError{fmt.Errorf("demo takes no arguments; leave out %q", c.Args().First())}
				}
				return demo(c.Context, stdout)
			},
			OnUsageError: onUsageError,
		}},
		Action:          serve,
		OnUsageError:    onUsageError,
		ExitErrHandler:  func(*cli.Context, error) {},
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
	}
	err := app.Run(args)
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

func env(name string) []string { return []string{"BIP324_PROXY_" + name} }

func onUsageError(_ *cli.Context, err error, _ bool) error {
	return usageError{fmt.Errorf("%w; see bip324-proxy --help", err)}
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
