// Package terminal shows a proxy's status report in a terminal, once or every two seconds.
package terminal

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
	"bip324proxy/status"
)

// maxFailures is how many of the last failures are shown.
const maxFailures = 5

const (
	red, green, yellow = "\x1b[31m", "\x1b[32m", "\x1b[33m"
	reset              = "\x1b[0m"
)

// Screen is what the lines are rendered for.
type Screen struct {
	Width, Height int // 0 is unlimited
	Color         bool
}

// screenOf returns the present size of out, and whether it obeys control sequences.
func screenOf(out io.Writer) (s Screen, obeys bool) {
	f, ok := out.(*os.File)
	if !ok {
		return s, false
	}
	var err error
	if s.Width, s.Height, err = term.GetSize(int(f.Fd())); err != nil {
		return Screen{}, false
	}
	obeys = s.Width > 0 && terminal.ObeysSequences(f)
	s.Color = obeys && os.Getenv("NO_COLOR") == ""
	return s, obeys
}

// Print writes a report, of any height, to out.
func Print(out io.Writer, r *status.Report) error {
	screen, _ := screenOf(out)
	screen.Height = 0
	return write(out, Render(r, screen))
}

func write(out io.Writer, lines []string) error {
	_, err := io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return err
}

// Render returns a report as lines that fit the screen. Failures and plaintext sessions come
// first. Without a limit on the height it ends with the session ids, in full.
func Render(r *status.Report, screen Screen) []string {
	height := screen.Height
	if height <= 0 {
		height = math.MaxInt
	}
	var lines []string
	add := func(color string, texts ...string) {
		for _, text := range texts {
			if screen.Width > 0 {
				text = terminal.Cut(text, screen.Width)
			}
			if screen.Color && color != "" {
				text = color + text + reset
			}
			lines = append(lines, text)
		}
	}
	text, color := answer(r)
	add("", "Is my Bitcoin traffic encrypted?")
	add(color, terminal.Fold("", text, screen.Width)...)
	add("", trouble(r, screen.Width)...)
	add("", terminal.Fold("", counts(r), screen.Width)...)
	add("", terminal.Fold("", about(r), screen.Width)...)
	if r.Inbound != nil {
		add("", terminal.Fold("", inbound(r), screen.Width)...)
	}
	if text := shaping(r); text != "" {
		add("", terminal.Fold("", text, screen.Width)...)
	}
	// The sessions leave a third of the height to the failures, unless fewer than four lines are left for them.
	failed := failures(refusals(r), screen.Width)
	room := max(height-len(lines)-len(r.Sessions)-3, min(height/3, height-len(lines)-4))
	if room > 2 { // else there is only the title
		add("", failed[:min(len(failed), room)]...)
	}
	if len(r.Sessions) > 0 {
		addSessions(add, r, screen.Width, height-len(lines))
	}
	if screen.Height <= 0 {
		lines = append(lines, sessionIDs(r.Sessions, screen.Width)...)
	}
	return lines[:min(len(lines), height)]
}

// addSessions adds the table in at most room lines, the first of them empty, the last with
// the number of sessions that are not shown.
func addSessions(add func(color string, texts ...string), r *status.Report, width, room int) {
	rows := table(r.Sessions, r.Time, width)
	shown, hidden := len(r.Sessions), max(r.Live.All-len(r.Sessions), 0)
	if room < 2+shown+min(hidden, 1) {
		shown = max(room-3, 0)
		hidden += len(r.Sessions) - shown
	}
	add("", "", rows[0])
	for i, s := range r.Sessions[:shown] {
		color := ""
		if s.Plaintext() {
			color = red
		}
		add(color, rows[1+i])
	}
	if hidden > 0 {
		add("", fmt.Sprintf("... and %d more", hidden))
	}
}

// sessionIDs returns the session ids for people to compare, never cut.
func sessionIDs(sessions []proxy.SessionInfo, width int) (lines []string) {
	for _, s := range sessions {
		if s.SessionID != "" {
			lines = append(lines, fmt.Sprintf("%d%s%s%s%s", s.Number, gap, ascii(s.SessionID), gap, ascii(s.Dest)))
		}
	}
	if lines == nil {
		return nil
	}
	const title = "Session ids; if the peer has the same one (Bitcoin Core: getpeerinfo), there is no man in the middle:"
	return slices.Concat([]string{""}, terminal.Fold("", title, width), lines)
}

// failures returns the lines about the last failures, the newest first.
func failures(last []proxy.Outcome, width int) (lines []string) {
	if len(last) == 0 {
		return nil
	}
	lines = []string{"", "The last connections that failed:"}
	for _, e := range last[:min(len(last), maxFailures)] {
		to := e.Dest
		if to == "" {
			to = "client " + e.Client
		}
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times since %s)", e.Count, e.First.Local().Format("15:04:05"))
		}
		head := e.Time.Local().Format("15:04:05") + gap
		lines = append(lines, terminal.Advise(head, arrow(e.Inbound)+ascii(to)+": "+e.Reason+times, e.Hint, width)...)
	}
	return lines
}
