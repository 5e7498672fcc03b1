// bip324-proxy is a local SOCKS5 proxy that gives any Bitcoin client BIP324
// (v2, encrypted) connections to its peers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/proxy"
	"bip324proxy/transport"
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
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:1324", Usage: "`ADDRESS` to take SOCKS5 clients on", EnvVars: env("LISTEN")},
			&cli.StringFlag{Name: "v1-fallback", Value: "never", Usage: "`WHERE` plaintext v1 may be spoken to peers without v2: never, overlay (.onion and CJDNS), always", EnvVars: env("V1_FALLBACK")},
			&cli.StringFlag{Name: "passthrough", Value: "allow", Usage: "`POLICY` for clients that do not speak v1 (v2 already, or not Bitcoin): allow, deny", EnvVars: env("PASSTHROUGH")},
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
	log, err := logger(c)
	if err != nil {
		return err
	}
	server, err := configure(c, log)
	if err != nil {
		return err
	}
	if c.Args().Present() {
		return usageError{fmt.Errorf("there is no command %q; see bip324-proxy --help", c.Args().First())}
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	l, err := listen(c.String("listen"))
	if err != nil {
		return err
	}
	log.Info("listening", "addr", l.Addr().String(),
		"v1_fallback", server.Dialer.Fallback.String(), "passthrough", c.String("passthrough"))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
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

// listen opens the port for clients. Only programs on this machine may use it:
// to all others it would be an open proxy.
func listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return nil, usageError{fmt.Errorf("--listen: %q is no address; write HOST:PORT, such as 127.0.0.1:1324", addr)}
	}
	l, err := net.Listen("tcp", addr)
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		return nil, usageError{fmt.Errorf("--listen: there is no host %q; take 127.0.0.1:1324, for example", host)}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w; if another program has that port, choose one with --listen", err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		l.Close()
		return nil, usageError{fmt.Errorf("--listen: %s is not on this machine alone, and whoever reached it could use the proxy; take a loopback address, such as 127.0.0.1:1324", addr)}
	}
	return l, nil
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
	}
}

func configure(c *cli.Context, log *slog.Logger) (*proxy.Server, error) {
	fallback, err := transport.ParseFallback(c.String("v1-fallback"))
	if err != nil {
		return nil, usageError{fmt.Errorf("--v1-fallback: %w", err)}
	}
	passthrough := c.String("passthrough")
	if passthrough != "allow" && passthrough != "deny" {
		return nil, usageError{fmt.Errorf("--passthrough: %q is neither allow nor deny", passthrough)}
	}
	if c.Duration("grace") < 0 {
		return nil, usageError{errors.New("--grace: a time cannot be negative; 0 ends sessions at once")}
	}
	return &proxy.Server{
		Dialer:          transport.Dialer{Fallback: fallback, Peers: new(transport.Peers)},
		DenyPassthrough: passthrough == "deny",
		Log:             log,
	}, nil
}

func logger(c *cli.Context) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, usageError{fmt.Errorf("--log-level: %q is none of debug, info, warn and error", c.String("log-level"))}
	}
	options := &slog.HandlerOptions{Level: level}
	switch c.String("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(c.App.ErrWriter, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(c.App.ErrWriter, options)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format: %q is neither text nor json", c.String("log-format"))}
}
