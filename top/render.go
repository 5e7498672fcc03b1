package top

import (
	"fmt"
	"strings"

	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
	"bip324proxy/status"
)

// maxRefusals is how many of the last refusals are shown.
const maxRefusals = 5

// Render shows a report as lines of at most width characters and, if it must, at
// most height of them. Zero is any number. Where there is room for all, it ends with
// the session ids, in full.
func Render(r *status.Report, width, height int) []string {
	var head []string
	for _, line := range append(headline(r), about(r)) {
		head = append(head, terminal.Fold("", line, width)...)
	}
	tail := refusals(r.Refusals, width)
	room := 0 // for the sessions; 0 is any
	if height > 0 {
		// The refusals get what the sessions leave, but a third at least if that leaves some sessions.
		limit := max(height-len(head)-len(r.Sessions)-3, min(height/3, height-len(head)-4), 0)
		if tail = tail[:min(len(tail), limit)]; len(tail) <= 2 {
			tail = nil // no more than their title
		}
		room = max(height-len(head)-len(tail), 1)
	}
	sessions := sessionLines(r, width, room)
	all := append(append(head, sessions...), tail...)
	if height > 0 {
		all = all[:min(len(all), height)]
	}
	for i := range all {
		if width > 0 {
			all[i] = terminal.Cut(all[i], width) // a word alone may be too long
		}
	}
	if height == 0 {
		all = append(all, sessionIDs(r.Sessions)...)
	}
	return all
}

// sessionIDs lists them for people to compare.
func sessionIDs(sessions []proxy.SessionInfo) (lines []string) {
	for _, s := range sessions {
		if s.SessionID != "" {
			lines = append(lines, fmt.Sprintf("%d%s%s%s%s", s.Number, gap, plainText(s.SessionID), gap, plainText(s.Dest)))
		}
	}
	if lines == nil {
		return nil
	}
	return append([]string{"", "Session ids; where the peer has the same one (Bitcoin Core: getpeerinfo), nobody sits in between:"}, lines...)
}

// sessionLines is the table in at most room lines, with an empty one before it.
func sessionLines(r *status.Report, width, room int) []string {
	if len(r.Sessions) == 0 {
		return nil
	}
	lines := append([]string{""}, table(r.Sessions, r.Time, width)...)
	titles := len(lines) - len(r.Sessions)
	left := max(r.Live.All-len(r.Sessions), 0)
	if room > 0 && len(lines)+min(left, 1) > room {
		lines = lines[:min(max(room-1, titles), len(lines))]
		left += len(r.Sessions) - (len(lines) - titles)
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("and %d more, not shown", left))
	}
	return lines
}

// refusals tells of the last ones, the newest first.
func refusals(last []proxy.Ended, width int) (lines []string) {
	if len(last) == 0 {
		return nil
	}
	lines = []string{"", "The last connections that failed:"}
	for _, e := range last[:min(len(last), maxRefusals)] {
		to := e.Dest
		if to == "" {
			to = "client " + e.Client
		}
		head := e.Time.Local().Format("15:04:05") + gap
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times since %s)", e.Count, e.First.Local().Format("15:04:05"))
		}
		lines = append(lines, terminal.Fold(head, plainText(to)+": "+terminal.Clean(e.Reason)+times, width)...)
		if e.Hint != "" {
			lines = append(lines, terminal.Fold(strings.Repeat(" ", len(head))+"-> ", terminal.Clean(e.Hint), width)...)
		}
	}
	return lines
}
