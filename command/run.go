// Package command is the program: its commands, and the service among them.
package command

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/journal"
	"bip324proxy/internal/signals"
	"bip324proxy/internal/terminal"
	"bip324proxy/settings"
)

// usageError is input that was wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Run runs the program and returns its exit code: 0, 1 if something failed, or 2 if
// the input was wrong.
func Run(args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	if !mayServe(app, args[1:]) {
		signals.Release()
	}
	err := app.Run(args)
	if err == nil {
		return 0
	}
	lastWords(stderr, err.Error(), time.Second)
	if errors.As(err, new(usageError)) || errors.As(err, new(*settings.Error)) {
		return 2
	}
	return 1
}

// mayServe reports whether the arguments may be those of the service, which handles
// signals: none is a command, or a flag that only has something printed.
func mayServe(app *cli.App, args []string) bool {
	prints := []string{"--help", "-help", "-h", "--version", "-version", "-v"}
	return !slices.ContainsFunc(args, func(arg string) bool {
		return app.Command(arg) != nil || slices.Contains(prints, arg)
	})
}

// lastWords writes an error to stderr as one line, for at most as long as patience: it may
// be a pipe that nobody reads.
func lastWords(stderr io.Writer, text string, patience time.Duration) {
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
	case <-time.After(patience):
	}
}
