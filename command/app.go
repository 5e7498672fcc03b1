// Package command has the commands of the program; without one it is the service.
package command

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/journal"
	"bip324proxy/internal/netns"
	"bip324proxy/internal/seccomp"
	"bip324proxy/internal/signals"
	"bip324proxy/internal/terminal"
	"bip324proxy/settings"
)

// usageError reports invalid arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Run runs the program and returns its exit code: 0, 1 if something failed, or 2 if an
// argument or a setting is invalid. The command run has other codes.
func Run(args []string, stdout, stderr io.Writer) int {
	switch {
	case len(args) > 1 && args[1] == netns.HolderCommand:
		signals.Release() // what is ignored is COMMAND's
		return exitWithout(netns.Hold())
	case len(args) > 1 && args[1] == seccomp.ExecCommand:
		signals.Release()
		return exitWithout(seccomp.Exec(args[2:]))
	}
	app := newApp(stdout, stderr)
	if !mayServe(app, args[1:]) {
		signals.Release()
	}
	checked, c, err := checkArguments(app, args[1:])
	if err == nil {
		err = app.Run(append(args[:1:1], checked...))
	}
	if err == nil || err == errStopped {
		return 0
	}
	var end *exitError
	if errors.As(err, &end) && end.err == nil {
		if end.signal != 0 {
			endBy(end.signal)
		}
		return end.code
	}
	writeError(stderr, err.Error(), time.Second)
	switch {
	case end != nil:
		return end.code
	case c != nil && c.Name == "run":
		return exitRunFailed
	}
	return exitCode(err)
}

// exitWithout returns the exit code of a process that prepares for COMMAND of run: the process
// that started it says what failed.
func exitWithout(err error) int {
	if err != nil {
		return exitRunFailed
	}
	return 0
}

// exitCode returns the exit code for an error.
func exitCode(err error) int {
	if errors.As(err, new(usageError)) || errors.As(err, new(*settings.Error)) {
		return 2
	}
	return 1
}

// mayServe reports whether args may start the service, which handles signals: none is a
// command, or a flag that only prints.
func mayServe(app *cli.App, args []string) bool {
	prints := []string{"--help", "-help", "-h", "--version", "-version", "-v"}
	return !slices.ContainsFunc(args, func(arg string) bool {
		return app.Command(arg) != nil || slices.Contains(prints, arg)
	})
}

// writeError writes an error to stderr as one line. It gives up after timeout: stderr may
// be a pipe that nobody reads.
func writeError(stderr io.Writer, text string, timeout time.Duration) {
	line := "bip324-proxy: " + terminal.Clean(text) + "\n"
	if journal.Is(stderr) {
		line = journal.Error(line)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		io.WriteString(stderr, line)
	}()
	select {
	case <-written:
	case <-time.After(timeout):
	}
}

// newApp returns the definition of the program's commands and flags.
func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:    "bip324-proxy",
		Usage:   "SOCKS5 proxy that gives any Bitcoin client encrypted (BIP324, v2) peer connections",
		Version: versionText(),
		Flags:   append(settings.Flags(), cli.HelpFlag),
		Commands: []*cli.Command{
			demoCommand(),
			runCommand(),
			configCommand(),
			setupCommand(),
			checkCommand(),
			transparentRulesCommand(),
			statusCommand(),
			serviceCommand(),
			manCommand(),
			completionCommand(),
			versionCommand(),
			helpCommand(),
		},
		Action:          serve,
		OnUsageError:    onUsageError,
		ExitErrHandler:  func(*cli.Context, error) {},
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
	}
}

// command completes the definition of a command: it takes no arguments, unless
// ArgsUsage names some.
func command(c *cli.Command) *cli.Command {
	c.OnUsageError = onUsageError
	if c.ArgsUsage == "" {
		c.Before = func(ctx *cli.Context) error {
			if ctx.Args().Present() {
				return usageError{fmt.Errorf("%s takes no arguments; remove %q", c.Name, shown(ctx.Args().First()))}
			}
			return nil
		}
	}
	return c
}

// onlyArgument returns the command's one argument, or "" if there is none.
func onlyArgument(c *cli.Context) (string, error) {
	first, extra := shown(c.Args().First()), shown(c.Args().Get(1))
	switch {
	case c.NArg() == 1 && c.Args().First() == "":
		return "", usageError{fmt.Errorf("%s: %s is empty; omit it or give a value", c.Command.Name, c.Command.ArgsUsage)}
	case isSecret(c.App, c.Args().First()):
		return "", usageError{fmt.Errorf("%s: %q is not valid here; write %s", c.Command.Name, first, c.Command.ArgsUsage)}
	case c.NArg() <= 1:
		return c.Args().First(), nil
	case strings.HasPrefix(extra, "-"):
		return "", usageError{fmt.Errorf("%s: write %s before %s: flags come first", c.Command.Name, extra, first)}
	default:
		return "", usageError{fmt.Errorf("%s takes one argument, %s; remove %q", c.Command.Name, c.Command.ArgsUsage, extra)}
	}
}

func onUsageError(_ *cli.Context, err error, _ bool) error {
	return usageError{fmt.Errorf("%w; see bip324-proxy --help", err)}
}
