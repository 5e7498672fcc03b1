package terminal

import (
	"fmt"
	"strings"

	"bip324proxy/proxy"
	"bip324proxy/status"
)

// shaping returns the line about traffic shaping, or "" if no session was shaped.
func shaping(r *status.Report) string {
	sent, overflows := r.Filler.ToPeer, r.ShapeOverflows
	if r.Inbound != nil {
		sent += r.Inbound.Filler.ToPeer
		overflows += r.Inbound.ShapeOverflows
	}
	var live []string
	for _, shape := range proxy.Shapes {
		if n := r.Shaped.Live[shape]; n > 0 {
			live = append(live, fmt.Sprintf("%d %s", n, shape))
		}
	}
	if sent == 0 && live == nil {
		return ""
	}
	if live == nil {
		live = []string{"no live session"}
	}
	day := r.Shaped.LastDay
	text := fmt.Sprintf("traffic shaping: %s; filler in the last 24 hours: %s to peers, %s from peers", strings.Join(live, ", "), amount(day.ToPeer), amount(day.FromPeer))
	if overflows > 0 {
		text += fmt.Sprintf("; backlogs too large for the shape: %d", overflows)
	}
	return text
}
