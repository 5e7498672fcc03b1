// Package signals catches the signals that the service handles, from the start of the
// program on: Go initialises packages in the order of their paths once their imports are
// initialised, and this one imports almost nothing.
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

	// pipes receives SIGPIPE, to be ignored: otherwise a log that nobody reads any more
	// would end the program.
	pipes = make(chan os.Signal, 1)

	hangupsIgnored    = signal.Ignored(syscall.SIGHUP)
	interruptsIgnored = signal.Ignored(os.Interrupt)
)

// Ignored reports whether the program was started with a signal ignored. It knows that of
// SIGHUP and SIGINT, which shells and nohup(1) ignore for programs in the background.
func Ignored(s os.Signal) bool {
	return s == syscall.SIGHUP && hangupsIgnored || s == os.Interrupt && interruptsIgnored
}

func init() { Catch() }

// Catch sends the signals to the channels and ignores SIGPIPE. Importing the package does
// so; call Catch after Release.
func Catch() {
	if !hangupsIgnored {
		signal.Notify(Hangups, syscall.SIGHUP)
	}
	signal.Notify(Stops, os.Interrupt, syscall.SIGTERM)
	signal.Notify(pipes, syscall.SIGPIPE)
}

// Release restores the default effect of the signals. Those already caught are raised
// again.
func Release() {
	for _, c := range []chan os.Signal{Hangups, Stops, pipes} {
		signal.Stop(c) // when it returns, nothing more comes
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
