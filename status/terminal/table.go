package terminal

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

// column is a column of the table.
type column struct {
	title string
	cell  func(s *proxy.SessionInfo, now time.Time) string
	right bool // aligned
	least int  // how narrow it may be made; 0 if it may not
	leave int  // the column with the highest is left out first; 0 is never left out
	some  bool // left out if all its cells are empty

	cells []string // the title first
	width int      // of the widest cell, until made narrower
}

// spare returns how much narrower the column may be made.
func (c *column) spare() int { return max(c.width-cmp.Or(c.least, c.width), 0) }

// columns are in the order of the table. The most important, the transport, is neither left
// out nor cut.
var columns = []column{
	{title: "NO", right: true, leave: 2, cell: func(s *proxy.SessionInfo, _ time.Time) string { return strconv.FormatUint(s.Number, 10) }},
	{title: "AGE", right: true, leave: 3, cell: func(s *proxy.SessionInfo, now time.Time) string { return age(now.Sub(s.Began)) }},
	{title: "TRANSPORT", cell: func(s *proxy.SessionInfo, _ time.Time) string { return transport(s) }},
	{title: "SHAPE", leave: 3, some: true, cell: func(s *proxy.SessionInfo, _ time.Time) string { return s.Shape }},
	{title: "NETWORK", leave: 5, cell: func(s *proxy.SessionInfo, _ time.Time) string { return s.Network }},
	{title: "DESTINATION", least: 15, leave: 1, cell: func(s *proxy.SessionInfo, _ time.Time) string { return arrow(s.Inbound) + s.Dest }},
	{title: "IN", right: true, leave: 4, cell: func(s *proxy.SessionInfo, _ time.Time) string { return amount(s.BytesToClient) }},
	{title: "OUT", right: true, leave: 4, cell: func(s *proxy.SessionInfo, _ time.Time) string { return amount(s.BytesToPeer) }},
	{title: "FILLER", right: true, leave: 4, some: true, cell: func(s *proxy.SessionInfo, _ time.Time) string {
		if s.Shape == "" {
			return ""
		}
		return amount(s.FillerToPeer)
	}},
	{title: "MESSAGES", right: true, leave: 6, cell: func(s *proxy.SessionInfo, _ time.Time) string {
		return fmt.Sprintf("%d/%d", s.MessagesToClient, s.MessagesToPeer)
	}},
	{title: "LAST", leave: 7, cell: func(s *proxy.SessionInfo, _ time.Time) string {
		return cmp.Or(s.LastToClient, "-") + "/" + cmp.Or(s.LastToPeer, "-")
	}},
	{title: "PEER", least: 8, leave: 8, cell: func(s *proxy.SessionInfo, _ time.Time) string { return s.PeerAgent }},
}

// arrow marks a peer that has connected to the node.
func arrow(inbound bool) string {
	if inbound {
		return "<- "
	}
	return ""
}

// transport returns what the two ends of a session speak, or the state of one that is not open.
func transport(s *proxy.SessionInfo) string {
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

	// maxCell caps the width of a cell, which all rows are padded to. Names in SOCKS are shorter.
	maxCell = 300
)

// table returns the titles and the sessions as lines of at most width characters; 0 is
// unlimited.
func table(sessions []proxy.SessionInfo, now time.Time, width int) []string {
	var shown []column
	for _, c := range columns {
		c.cells, c.width = []string{c.title}, len(c.title)
		filled := false
		for row := range sessions {
			cell := terminal.Cut(ascii(c.cell(&sessions[row], now)), maxCell)
			c.cells = append(c.cells, cell)
			c.width = max(c.width, len(cell))
			filled = filled || cell != ""
		}
		if filled || !c.some {
			shown = append(shown, c)
		}
	}
	if width > 0 {
		shown = fit(shown, width)
	}
	lines := make([]string, len(sessions)+1)
	for row := range lines {
		var line strings.Builder
		for _, c := range shown {
			pad := "%-*s" + gap
			if c.right {
				pad = "%*s" + gap
			}
			fmt.Fprintf(&line, pad, c.width, terminal.Cut(c.cells[row], c.width))
		}
		lines[row] = strings.TrimRight(line.String(), " ")
	}
	return lines
}

// fit leaves columns out, and makes others narrower, until the rows have at most width
// characters.
func fit(all []column, width int) []column {
	for {
		excess, spare := -len(gap)-width, 0
		for i := range all {
			excess += all[i].width + len(gap)
			spare += all[i].spare()
		}
		if excess <= spare || len(all) == 1 {
			for i := len(all) - 1; i >= 0 && excess > 0; i-- { // the last are the least important
				less := min(excess, all[i].spare())
				all[i].width -= less
				excess -= less
			}
			return all
		}
		first := slices.MaxFunc(all, func(a, b column) int { return cmp.Compare(a.leave, b.leave) }).leave
		all = slices.DeleteFunc(all, func(c column) bool { return c.leave == first })
	}
}

// ascii returns text with a question mark for everything that is not printable ASCII, so that
// each character has one column: destinations and user agents are chosen by others.
func ascii(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}
