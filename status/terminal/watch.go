package terminal

import (
	"context"
	"io"
	"strings"
	"time"

	"bip324proxy/internal/terminal"
	"bip324proxy/status"
)

const watchInterval = 2 * time.Second

// ECMA-48: where lines are drawn over those that were there before.
const (
	home       = "\x1b[H"
	clearRight = "\x1b[K"
	clearBelow = "\x1b[J"
)

// Watch shows what fetch returns every two seconds until ctx ends. A terminal shows the newest
// report only, as much of it as fits; anything else gets one report after the other. The
// first fetch must succeed; after a later one that fails, Watch shows why and tries again.
func Watch(ctx context.Context, out io.Writer, fetch func(context.Context) (*status.Report, error)) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var last *status.Report
	for {
		report, err := fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			last = report
		case last == nil:
			return err
		}
		if err := show(out, last, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// show shows the last report and, if a newer one could not be fetched, why.
func show(out io.Writer, last *status.Report, err error) error {
	screen, obeys := screenOf(out)
	var foot []string
	if err != nil {
		foot = terminal.Fold("", terminal.Clean("Trying again: "+err.Error()), screen.Width)
	}
	switch {
	case obeys:
		return draw(out, last, screen, foot)
	case err != nil:
		return write(out, foot)
	}
	screen.Height = 0
	return write(out, append(Render(last, screen), ""))
}

// draw replaces what the terminal shows. The last line of the terminal stays empty, for what
// the shell writes next.
func draw(out io.Writer, r *status.Report, screen Screen, foot []string) error {
	height := max(screen.Height-1, 1)
	screen.Height = max(height-len(foot), 1)
	lines := append(Render(r, screen), foot...)
	lines = lines[:min(len(lines), height)]
	// Each line is cleared before it is written: after it, the cursor may still be on its last character.
	_, err := io.WriteString(out, home+clearRight+strings.Join(lines, "\n"+clearRight)+"\n"+clearBelow)
	return err
}
