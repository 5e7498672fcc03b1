package command

import (
	"context"
	"os"
	"syscall"
	"time"

	"golang.org/x/term"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/signals"
)

const (
	stopNowTimeout = 2 * time.Second        // from the second signal to the end of the process
	afterGrace     = 3 * time.Second        // from the end of grace, with 2 s for the sessions' last messages
	pageTimeout    = 500 * time.Millisecond // for the status page to finish an answer
	logTimeout     = time.Second            // for the log's last lines
)

// stops has the two signals that stop the service: SIGINT or SIGTERM, or, as the first, the
// SIGHUP of a closed terminal.
type stops struct {
	first, second chan struct{} // closed when it comes
	signal        os.Signal     // the first, once that is closed
	interactive   bool          // the program was started in a terminal
}

// awaitStops waits for the signals in the background, until done is closed, and passes on
// each SIGHUP that asks for a reload. After the second that stops the service the process
// ends within stopNowTimeout, whatever it is waiting for.
func (s *service) awaitStops(done <-chan struct{}) {
	s.stops = stops{first: make(chan struct{}), second: make(chan struct{})}
	s.reloads = make(chan os.Signal, 1)
	interactive, terminalClosed := findTerminal()
	s.stops.interactive = interactive
	go func() {
		for s.stops.signal == nil {
			select {
			case s.stops.signal = <-signals.Stops:
			case hangup := <-signals.Hangups:
				if terminalClosed() {
					s.stops.signal = hangup
				} else if len(s.reloads) == 0 { // or one is due already
					s.reloads <- hangup // nothing else sends there, so this does not block
				}
			case <-done:
				return
			}
		}
		close(s.stops.first)
		select {
		case <-signals.Stops:
			close(s.stops.second)
			s.endWithin(stopNowTimeout)
		case <-done:
		}
	}()
}

// endWithin ends the process after d at the latest, with exit code 1 if the known peers
// have not been saved by then.
func (s *service) endWithin(d time.Duration) {
	end := time.Now().Add(d)
	s.end.Store(&end)
	time.AfterFunc(d, func() {
		if s.unsaved.Load() {
			writeError(s.stderr, "known peers could not be saved in time", 100*time.Millisecond)
			os.Exit(1)
		}
		os.Exit(0)
	})
}

// stop ends all sessions: after grace, or when the second signal comes.
func (s *service) stop(grace time.Duration) {
	s.endWithin(max(grace, grace+afterGrace)) // the sum may overflow
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	// Now, and again with the last messages: the disk may be slow.
	go s.savePeers()
	defer context.AfterFunc(ctx, func() {
		s.server.Interrupt()
		s.savePeers()
	})()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.server.Shutdown(ctx)
	}()
	select {
	case <-drained:
	case <-s.stops.second:
		s.server.Close()
	}
}

// endLog writes the last lines of the log, as far as the process has time.
func (s *service) endLog() {
	timeout := logTimeout
	if end := s.end.Load(); end != nil {
		const margin = 200 * time.Millisecond
		timeout = min(timeout, time.Until(*end)-margin)
	}
	s.queue.Close(timeout)
}

// findTerminal looks for the terminal that the program was started in. interactive is whether
// stdin or stderr is one. closed reports whether a SIGHUP means that it was closed. If
// interactive it always does: some shells send it on exit, before the terminal closes.
func findTerminal() (interactive bool, closed func() bool) {
	interactive = term.IsTerminal(int(os.Stdin.Fd())) || term.IsTerminal(int(os.Stderr.Fd()))
	controlling := openTerminal() == nil // the session has a terminal
	return interactive, func() bool {
		return interactive || controlling && errno.Is(openTerminal(), syscall.ENXIO, syscall.EIO)
	}
}

// openTerminal opens the controlling terminal and closes it again.
func openTerminal() error {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
