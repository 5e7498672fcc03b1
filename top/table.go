package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
)

// column is one of the table's.
type column struct {
	title string
	cell  func(s *proxy.SessionInfo, now time.Time) string
	right bool // aligned
	least int  // how narrow it may be made; 0 for not at all
	leave int  // what is left out first, where the width is not enough: the highest; 0 for never
}

// columns are in the order of the table. What matters most, the transport, is never
// left out nor cut.
var columns = []column{
	{title: "NO", right: true, leave: 2, cell: func(s *proxy.SessionInfo, _ time.Time) string { return strconv.FormatUint(s.Number, 10) }},
	{title: "AGE", right: true, leave: 3, cell: func(s *proxy.SessionInfo, now time.Time) string { return age(now.Sub(s.Began)) }},
	{title: "TRANSPORT", cell: func(s *proxy.SessionInfo, _ time.Time) string { return speaks(s) }},
	{title: "NETWORK", leave: 5, cell: func(s *proxy.SessionInfo, _ time.Time) string { return s.Network }},
	{title: "DESTINATION", least: 15, leave: 1, cell: func(s *proxy.SessionInfo, _ time.Time) string { return s.Dest }},
	{title: "IN", right: true, leave: 4, cell: func(s *proxy.SessionInfo, _ time.Time) string { return amount(s.BytesToClient) }},
	{title: "OUT", right: true, leave: 4, cell: func(s *proxy.SessionInfo, _ time.Time) string { return amount(s.BytesToPeer) }},
	{title: "MESSAGES", right: true, leave: 6, cell: func(s *proxy.SessionInfo, _ time.Time) string {
		return fmt.Sprintf("%d/%d", s.MessagesToClient, s.MessagesToPeer)
	}},
	{title: "LAST", leave: 7, cell: func(s *proxy.SessionInfo, _ time.Time) string {
		return cmp.Or(s.LastToClient, "-") + "/" + cmp.Or(s.LastToPeer, "-")
	}},
	{title: "PEER", least: 8, leave: 8, cell: func(s *proxy.SessionInfo, _ time.Time) string { return s.PeerAgent }},
}

// speaks is what the two ends of a session speak, or how far it has come.
func speaks(s *proxy.SessionInfo) string {
	switch {
	case s.Plaintext():
		return "v1 PLAINTEXT"
	case s.Transport == "v1":
		return "v1 overlay"
	case s.Transport != "":
		return s.Transport
	}
	return "(" + string(s.State) + ")"
}

const (
	gap = "  " // between columns

	// maxCell is how wide a cell may be, in characters. No name that SOCKS can carry is
	// longer; what is, would make all rows as long.
	maxCell = 300
)

// table returns the sessions, in their order, as lines of at most width characters, or
// of any length if that is 0, the titles first.
func table(sessions []proxy.SessionInfo, now time.Time, width int) []string {
	shown := make([]shownColumn, len(columns))
	for i, c := range columns {
		s := shownColumn{column: c, width: len(c.title), cells: make([]string, len(sessions))}
		for row := range sessions {
			s.cells[row] = terminal.Cut(plainText(c.cell(&sessions[row], now)), maxCell)
			s.width = max(s.width, len(s.cells[row]))
		}
		shown[i] = s
	}
	if width > 0 {
		shown = fit(shown, width)
	}
	lines := make([]string, 0, len(sessions)+1)
	for row := -1; row < len(sessions); row++ {
		var line strings.Builder
		for _, s := range shown {
			cell := s.title
			if row >= 0 {
				cell = s.cells[row]
			}
			pad := "%-*s" + gap
			if s.right {
				pad = "%*s" + gap
			}
			fmt.Fprintf(&line, pad, s.width, terminal.Cut(cell, s.width))
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}

// shownColumn is a column with what is in it.
type shownColumn struct {
	column
	width int
	cells []string
}

// fit makes columns narrower, and leaves some out, until they have at most width
// characters together.
func fit(all []shownColumn, width int) []shownColumn {
	total := func() (sum int) {
		for _, c := range all {
			sum += c.width + len(gap)
		}
		return sum - len(gap)
	}
	for {
		for i := len(all) - 1; i >= 0; i-- { // what is behind is less important
			if c := &all[i]; c.least > 0 {
				c.width = max(min(c.width, c.width-(total()-width)), min(c.least, c.width))
			}
		}
		if total() <= width || len(all) == 1 {
			return all
		}
		worst := slices.MaxFunc(all, func(a, b shownColumn) int { return cmp.Compare(a.leave, b.leave) })
		all = slices.DeleteFunc(all, func(c shownColumn) bool { return c.leave == worst.leave })
		for i := range all { // what was narrowed for it gets its room back
			all[i].width = len(all[i].title)
			for _, cell := range all[i].cells {
				all[i].width = max(all[i].width, len(cell))
			}
		}
	}
}

// plainText is text with one column for each character, and nothing but ASCII:
// destinations and user agents are chosen by others.
func plainText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}
