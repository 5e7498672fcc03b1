package command

import (
	"context"
	"os"
	"syscall"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/signals"
	"bip324proxy/internal/terminal"
)

const (
	// lastMoments is how long the process may take to end after the second signal, for
	// what it has not done by then.
	lastMoments = 2 * time.Second

	// afterGrace is the same after the time of grace: two seconds for the last messages
	// of sessions, and what else there is to do.
	afterGrace = 3 * time.Second

	// drainPatience is how long sessions that were closed may take to end.
	drainPatience = 500 * time.Millisecond

	// pagePatience is how long an answer of the status page may take that is under way.
	pagePatience = 500 * time.Millisecond

	// logPatience is how long the log may take for its last lines.
	logPatience = time.Second
)

// stops are the two signals that end the service: SIGINT or SIGTERM each, or, as the first,
// the SIGHUP of a terminal that was closed.
type stops struct {
	first, second chan struct{} // closed when it comes
	signal        os.Signal     // the first, once that is closed
}

// awaitStops waits for the signals, until done is closed. The second ends the process
// within lastMoments, whatever it may be waiting for.
func (s *service) awaitStops(done <-chan struct{}) {
	s.stops = stops{first: make(chan struct{}), second: make(chan struct{})}
	s.reloads = make(chan os.Signal, 1)
	user := findTerminal()
	go func() {
		if s.stops.signal = s.awaitFirst(user, done); s.stops.signal == nil {
			return
		}
		close(s.stops.first)
		select {
		case <-signals.Stops:
			close(s.stops.second)
			s.endWithin(lastMoments)
		case <-done:
		}
	}()
}

// awaitFirst returns the first signal that ends the service, or nil once done is closed.
// It passes on those that ask for a reload.
func (s *service) awaitFirst(user userTerminal, done <-chan struct{}) os.Signal {
	for {
		select {
		case stop := <-signals.Stops:
			return stop
		case hangup := <-signals.Hangups:
			if user.isClosed() {
				return hangup
			}
			select {
			case s.reloads <- hangup:
			default: // one is to come anyway
			}
		case <-done:
			return nil
		}
	}
}

// endWithin ends the process after d. The exit code is 1 if the known peers have not been
// saved by then.
func (s *service) endWithin(d time.Duration) {
	end := time.Now().Add(d)
	s.end.Store(&end)
	time.AfterFunc(d, func() {
		if s.unsaved.Load() {
			lastWords(s.stderr, "known peers could not be saved in time", 100*time.Millisecond)
			os.Exit(1)
		}
		os.Exit(0)
	})
}

// stop ends all sessions: when grace is over, or at once when the second signal comes.
func (s *service) stop(grace time.Duration) {
	s.endWithin(max(grace, grace+afterGrace)) // a sum may be too large
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	// At once, and again beside the last messages: a disk may be slow.
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
		return
	case <-s.stops.second:
	}
	s.server.Close()
	select {
	case <-drained: // with a line in the log for each session
	case <-time.After(drainPatience):
	}
}

// endLog writes the last lines of the log, if that takes no longer than the process may
// go on.
func (s *service) endLog() {
	patience := logPatience
	if end := s.end.Load(); end != nil {
		const margin = 200 * time.Millisecond
		patience = min(patience, time.Until(*end)-margin)
	}
	s.queue.Close(patience)
}

// userTerminal is what ties the program to the terminal of the user who started it. Its
// zero value is that of a service.
type userTerminal struct {
	interactive bool // stdin or stderr is a terminal
	controlling bool // the program's session has one
}

// findTerminal looks for the terminal that the program is started in.
func findTerminal() userTerminal {
	return userTerminal{
		interactive: terminal.Is(os.Stdin) || terminal.Is(os.Stderr),
		controlling: openTerminal() == nil,
	}
}

// isClosed reports whether a SIGHUP that has come means that the terminal was closed. With
// stdin or stderr on a terminal it always does: some shells send it when they end, before
// the terminal closes.
func (u userTerminal) isClosed() bool {
	return u.interactive || u.controlling && errno.Is(openTerminal(), syscall.ENXIO, syscall.EIO)
}

// openTerminal opens the controlling terminal and closes it again.
func openTerminal() error {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
