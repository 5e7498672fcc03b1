// Package signals catches the signals that the service handles, from the program's first
// moment to its last: Go initialises packages in the order of their paths as soon as
// what they import is ready, and this one imports next to nothing.
package signals

import (
	"os"
	"os/signal"
	"syscall"
)

var (
	// Hangups receives SIGHUP, unless the program was started with SIGHUP ignored, as by
	// nohup(1). Windows has none.
	Hangups = make(chan os.Signal, 1)

	// Stops receives SIGINT and SIGTERM.
	Stops = make(chan os.Signal, 2)

	// pipes receives SIGPIPE, and nobody reads it: a log that nobody reads any more would
	// end the program otherwise.
	pipes = make(chan os.Signal, 1)

	hangupsIgnored = signal.Ignored(syscall.SIGHUP)
)

func init() { Catch() }

// Catch has the signals come from the channels, and SIGPIPE ignored. Importing the
// package has done so; it is for a program that has called Release.
func Catch() {
	if !hangupsIgnored {
		signal.Notify(Hangups, syscall.SIGHUP)
	}
	signal.Notify(Stops, os.Interrupt, syscall.SIGTERM)
	signal.Notify(pipes, syscall.SIGPIPE)
}

// Release gives the signals the effect that they have by default. One that was caught
// before is raised again.
func Release() {
	for _, c := range []chan os.Signal{Hangups, Stops, pipes} {
		signal.Stop(c) // from its return on, nothing more comes
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return
	}
	for _, c := range []chan os.Signal{Hangups, Stops} {
		for len(c) > 0 {
			self.Signal(<-c)
		}
	}
}
