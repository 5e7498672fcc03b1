package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"bip324proxy/settings"
	"bip324proxy/socks"
)

// The exit codes of run where COMMAND has none, as those of env(1) and timeout(1).
const (
	exitRunFailed     = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

func runCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "run",
		ArgsUsage: "[--] COMMAND [ARG…]",
		Usage:     "run a program whose TCP connections all go through the proxy, without a proxy setting",
		Description: `COMMAND runs in a network namespace with this process as its only way out: TCP connections become the proxy's, under the same settings, names are looked up by the proxy, and everything else is unreachable. It needs Linux with user namespaces, and no privilege. Loopback is the namespace's own: with --publish, programs outside reach a port of COMMAND.

Examples:

  bip324-proxy run -- btcd --nolisten
  bip324-proxy run --publish 127.0.0.1:8332=8332 -- bitcoind
  bip324-proxy run --proxy 127.0.0.1:1324 -- ./crawler

The proxy's warnings, and a summary at the end, go to stderr with the prefix bip324-proxy:, or to --log-file; --log-level info adds a line for each connection. The proxy listens only where --listen, --peer, --transparent, --inbound or --status say so, and not at the default addresses; for --inbound, publish the port of the node.

Signals are COMMAND's, SIGHUP as well: run does not reload. run ends when COMMAND does; children that COMMAND leaves behind are cut off from the network. The exit code is COMMAND's, and a signal that kills COMMAND ends run, too. 127 means that COMMAND was not found, 126 that it cannot be executed, 125 that run itself failed.`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "publish", Usage: "`HOST:PORT=PORT`: listen on HOST:PORT and connect to that PORT of COMMAND; repeatable"},
			&cli.StringFlag{Name: "proxy", Usage: "`ADDRESS` of a running bip324-proxy that makes the connections: HOST:PORT, unix:/PATH or a URL as of --upstream"},
			&cli.StringFlag{Name: "log-file", Usage: "`FILE` to append the log and the summary to, instead of stderr"},
			&cli.StringFlag{Name: "fence", Value: "namespace", Usage: "`WAY` to redirect connections: namespace, seccomp or auto"},
		}, settings.Flags()...),
		HideHelpCommand: true, // help is the name of a COMMAND
		Action:          runGuest,
	})
}

// exitError ends the program with the exit code of COMMAND, or of the failure to start it.
type exitError struct {
	code   int
	signal syscall.Signal // that killed COMMAND, or 0
	err    error          // to report, or nil
}

func (e *exitError) Unwrap() error { return e.err }

func (e *exitError) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return fmt.Sprintf("exit code %d", e.code)
}

// runOptions are the options of run, and its COMMAND.
type runOptions struct {
	args    []string // COMMAND's, which begin with its name
	path    string   // of COMMAND
	fence   string
	logFile string
	publish []published
	proxy   *socks.Upstream // nil: this process is the proxy
}

// readRunOptions returns the options once they are checked.
func readRunOptions(c *cli.Context) (o runOptions, err error) {
	if o.args = c.Args().Slice(); len(o.args) == 0 {
		return o, usageError{errors.New("run needs a command: write bip324-proxy run -- COMMAND [ARG…]; to run only the proxy, write bip324-proxy without run")}
	}
	if o.fence = c.String("fence"); !slices.Contains(fences, o.fence) {
		return o, usageError{fmt.Errorf("--fence: %q is invalid; must be namespace, seccomp or auto", o.fence)}
	}
	if o.logFile = c.String("log-file"); c.IsSet("log-file") && o.logFile == "" {
		return o, usageError{errors.New("--log-file: must not be empty; omit it for stderr")}
	}
	if o.publish, err = parsePublished(c.StringSlice("publish")); err != nil {
		return o, usageError{err}
	}
	if c.IsSet("proxy") {
		if o.proxy, err = parseProxy(c.String("proxy")); err != nil {
			return o, usageError{err}
		}
	}
	if len(o.publish) > 0 && o.fence == "seccomp" {
		return o, usageError{errors.New("--publish: has no effect with --fence seccomp, where loopback is this machine's; remove it")}
	}
	o.path, err = lookPath(o.args[0])
	return o, err
}

// lookPath returns the path of COMMAND.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil || errors.Is(err, exec.ErrDot): // which PATH has, so the user wants it
		return path, nil
	case name == "":
		return "", &exitError{code: exitNotFound, err: errors.New("run: the name of the command is empty; write run -- COMMAND [ARG…]")}
	case errors.Is(err, exec.ErrNotFound):
		return "", &exitError{code: exitNotFound, err: fmt.Errorf("run: command %q not found; correct its name, or write its path", name)}
	case errors.Is(err, fs.ErrNotExist):
		return "", &exitError{code: exitNotFound, err: fmt.Errorf("run: %s does not exist; correct the path", name)}
	}
	return "", &exitError{code: exitNotExecutable, err: cannotExecute(name, err)}
}

// cannotExecute returns the error for a COMMAND that exists.
func cannotExecute(name string, err error) error {
	var why *fs.PathError
	var cause *exec.Error
	switch {
	case errors.As(err, &why):
		err = why.Err
	case errors.As(err, &cause):
		err = cause.Err
	}
	return fmt.Errorf("run: cannot execute %s: %w", name, err)
}
