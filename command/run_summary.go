package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bip324proxy/proxy"
)

// summary is what became of the connections of COMMAND.
type summary struct {
	counts []count
	more   string // a sentence
}

type count struct {
	n    uint64
	name string // as an attribute in the log
	text string // after the number
}

// serverSummary returns the summary of a proxy. If no connection opened, it has the most frequent
// reason, which may contain a name, unless addresses are hidden.
func serverSummary(now proxy.Snapshot, hideAddresses bool) summary {
	var refused uint64
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(now.Refused)) {
		if n := now.Refused[kind]; n > 0 {
			refused += n
			kinds = append(kinds, fmt.Sprintf("%d %s", n, kind))
		}
	}
	text := "refused (" + strings.Join(kinds, ", ") + ")"
	if f := now.Failing; f != nil && now.Opened["v2"]+now.Opened["v1"]+now.Opened["passthrough"] == 0 && !hideAddresses {
		text += ", most often: " + f.Reason
	}
	return summary{counts: []count{
		{now.Opened["v2"], "v2", "on v2"},
		{now.Opened["v1"], "v1", "on v1 by fallback"},
		{now.Opened["passthrough"], "passthrough", "passed through"},
		{refused, "refused", text},
	}}
}

// tellSummary writes the summary: to stderr as a sentence, to the file of --log-file as a line of
// the log.
func (g *guest) tellSummary() {
	s := g.summary()
	var parts []string
	args := []any{"lookups", g.lookups.Load()}
	for _, c := range s.counts {
		args = append(args, c.name, c.n)
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.text))
		}
	}
	if g.logFile != "" {
		g.log.Info("command ended", args...)
		return
	}
	text := "connections: " + strings.Join(parts, ", ")
	if parts == nil {
		text = "the command made no connection"
	}
	if n := g.lookups.Load(); n > 0 {
		text += fmt.Sprintf("; names looked up: %d", n)
	}
	fmt.Fprintf(g.lines, "%s%s%s\n", logPrefix, text, s.more)
}
