package terminal

import (
	"fmt"
	"slices"
	"strings"

	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
	"bip324proxy/status"
)

// refusalWords are what the line about inbound sessions calls the kinds of refusals.
var refusalWords = map[string]string{
	proxy.KindScanner:      "from scanners",
	proxy.KindV1Refused:    "without v2",
	proxy.KindOtherNetwork: "of another network",
	proxy.KindInboundLimit: "over a limit",
	proxy.KindInboundFull:  "while all sessions were in use",
	proxy.KindNode:         "while the node was down",
}

// inbound returns the line about inbound sessions.
func inbound(r *status.Report) string {
	in := r.Inbound
	var where, refused []string
	for _, l := range in.Listeners {
		where = append(where, l.Address+" -> node "+l.Node)
	}
	for _, kind := range proxy.InboundRefusalKinds {
		if words, n := refusalWords[kind], in.Refused[kind]; n > 0 && words != "" {
			refused = append(refused, fmt.Sprintf("%d %s", n, words))
		}
	}
	text := fmt.Sprintf("inbound on %s: %d of %d sessions, %d opened", strings.Join(where, ", "), r.Live.Inbound, in.MaxSessions, sum(in.Opened))
	if in.Pending > 0 {
		text += fmt.Sprintf(", %d without VERSION yet", in.Pending)
	}
	if len(refused) > 0 {
		text += "; refused: " + strings.Join(refused, ", ")
	}
	return terminal.Clean(text)
}

// failed returns how many sessions failed, without those of strangers, which never open.
func failed(r *status.Report) uint64 {
	n := sum(r.Refused)
	if in := r.Inbound; in != nil {
		n += in.Refused[proxy.KindNode] + in.Refused[proxy.KindOther]
	}
	return n
}

// refusals returns those of both directions, the newest first.
func refusals(r *status.Report) []proxy.Outcome {
	if r.Inbound == nil {
		return r.Refusals
	}
	all := slices.Concat(r.Refusals, r.Inbound.Refusals)
	slices.SortStableFunc(all, func(a, b proxy.Outcome) int { return b.Time.Compare(a.Time) })
	return all
}
