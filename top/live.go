package top

import (
	"context"
	"time"

	"bip324proxy/internal/terminal"
	"bip324proxy/status"
)

// every is the time from one drawing to the next.
const every = 2 * time.Second

// Screen is what is drawn on, such as a *terminal.Screen.
type Screen interface {
	Size() (width, height int)
	Draw(lines []string) error
	Keys() <-chan byte // closed when there will be no more
}

// Live draws what ask returns, every two seconds, until ctx ends or the user has
// enough: q, Escape, Ctrl-C. A status that cannot be had is no end, unless it is the
// first: the proxy may be back soon.
func Live(ctx context.Context, screen Screen, ask func(context.Context) (*status.Report, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		report *status.Report
		err    error
	}
	answers := make(chan answer, 1)
	next := func() {
		go func() {
			report, err := ask(ctx)
			answers <- answer{report, err}
		}()
	}
	pending := true
	defer func() {
		if pending {
			cancel()
			<-answers
		}
	}()
	next()
	var last *status.Report
	tick := time.NewTicker(every)
	defer tick.Stop()
	keys := screen.Keys()
	for {
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-keys:
			switch {
			case !ok:
				keys = nil
			case key == 'q', key == 'Q', key == 0x1b, key == 0x03, key == 0x04:
				return nil
			}
		case <-tick.C:
			if !pending {
				pending = true
				next()
			}
		case a := <-answers:
			pending = false
			if a.err != nil && last == nil {
				return a.err
			}
			if a.err == nil {
				last = a.report
			}
			if err := draw(screen, last, a.err); err != nil {
				return err
			}
		}
	}
}

// draw shows a report and, if it is old because of err, why.
func draw(screen Screen, r *status.Report, err error) error {
	width, height := screen.Size()
	foot := []string{"", "q to quit"}
	if err != nil {
		foot = append([]string{""}, terminal.Fold("", terminal.Clean("Trying again: "+err.Error()), width)...)
	}
	lines := Render(r, width, max(height-len(foot), 1))
	lines = append(lines, foot...)
	if height > 0 {
		lines = lines[:min(len(lines), height)]
	}
	return screen.Draw(lines)
}
