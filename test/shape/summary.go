package main

import (
	"fmt"
	"strings"
)

// Summary returns the tables that docs/shape.md has: what is found in each mode, at what cost, and which figures
// were to be reached.
func (r *Report) Summary() string {
	var b strings.Builder
	r.recorded(&b)
	b.WriteString("\nThe columns with questions, and the one of upstream alone, have the share of events that are found at 1 % FPR (TPR), by forests that learn from other sessions of the same mode: the means of the seeds. Delays are those of own transactions, medians; bytes are those upstream, at mainnet's pace.\n\n")
	head(&b, "In short", "mode", "client", "own transaction sent?", "upstream alone", "bits left of its size", "block announced?", "block fetched?", "added delay", "MB/day")
	for _, c := range r.Costs {
		bits, delay, day := "", "", ""
		for _, s := range r.Sizes {
			if s.Mode == c.Mode && s.Client == c.Client {
				bits = fmt.Sprintf("%.2f of %.2f", s.ListLeft, s.ListBits)
			}
		}
		if c.Added != nil {
			delay = fmt.Sprintf("%.1f s", max(0, c.Added.Seconds()))
		}
		if c.Mainnet > 0 {
			day = fmt.Sprintf("%.1f", c.Mainnet)
		}
		row(&b, c.Mode, c.Client, r.found("tx", c, viewBoth), r.found("tx", c, viewUp), bits,
			r.found("announce", c, viewBoth), r.found("block", c, viewBoth), delay, day)
	}
	b.WriteByte('\n')
	r.goals(&b)
	return b.String()
}

// found returns what is found of a task in the sessions of c.
func (r *Report) found(task string, c Cost, v view) string {
	result := r.result(task, c.Mode, c.Client, v)
	switch {
	case result == nil || result.none():
		return ""
	case result.AtChance:
		return fmt.Sprintf("%.2f, at chance", result.TPR.Mean)
	}
	return fmt.Sprintf("%.2f", result.TPR.Mean)
}
