package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
)

// moves is the distance of the quartiles, as a part of the median, from which on the table says that a figure moves.
const moves = 0.05

// part is a part of a limit.
type part struct {
	name string
	cost series
}

// row is a line of the table: a figure and, if any, the limit to compare it with.
type row struct {
	what   string
	unit   string
	got    series
	limit  []part  // none: none, or none in this unit
	target float64 // maximum for ratio or, without a limit, for got; zero: none
	note   string
}

// limits returns each round's limit.
func (r row) limits() series {
	all := make(series, len(r.got))
	for _, p := range r.limit {
		for i := range all {
			all[i] += p.cost[i]
		}
	}
	return all
}

// ratio returns the figure that target bounds. A round's limit is compared with the same round's figure.
func (r row) ratio() series {
	if r.limit == nil {
		return r.got
	}
	return r.got.over(r.limits())
}

// parts formats the limit.
func (r row) parts() string {
	if r.limit == nil {
		return ""
	}
	var names []string
	for _, p := range r.limit {
		name := p.name
		if len(r.limit) > 1 {
			name += " " + figure(p.cost.median())
		}
		names = append(names, name)
	}
	return fmt.Sprintf("%s (%s)", figure(r.limits().median()), strings.Join(names, ", "))
}

// remarks formats what the last column says.
func (r row) remarks() string {
	var all []string
	switch {
	case r.target == 0:
	case r.ratio().median() > r.target:
		all = append(all, "**missed**")
	default:
		all = append(all, "met")
	}
	if len(r.got) > 1 {
		for _, each := range []struct {
			what string
			series
		}{{"figure", r.got}, {"ratio", r.ratio()}} {
			if 2*each.spread() >= moves && (each.what == "figure" || r.limit != nil) {
				all = append(all, each.what+" moves")
			}
		}
	}
	if r.note != "" {
		all = append(all, r.note)
	}
	return strings.Join(all, "; ")
}

// table formats rows as Markdown.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| what | proxy | limit | ratio | target | |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		ratio, target := "", ""
		if r.limit != nil {
			ratio = spreadOut(r.ratio(), fmt.Sprintf("%.2f", r.ratio().median()))
		}
		if r.target != 0 {
			target = "≤ " + fmt.Sprintf("%.2f", r.target)
		}
		fmt.Fprintf(&b, "| %s, %s | %s | %s | %s | %s | %s |\n", r.what, r.unit, spreadOut(r.got, figure(r.got.median())), r.parts(), ratio, target, r.remarks())
	}
	return b.String()
}

// spreadOut appends the spread of s, in per cent, to its median.
func spreadOut(s series, median string) string {
	if len(s) == 1 {
		return median
	}
	return fmt.Sprintf("%s ± %.1f %%", median, s.spread()*100)
}

// figure formats x with three digits.
func figure(x float64) string {
	switch {
	case x >= 100 || x == 0:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

// machine describes the host that the figures are from.
func machine() string {
	model := "unknown CPU"
	if info, err := cpu.Info(); err == nil && len(info) > 0 {
		model = info[0].ModelName
	}
	return fmt.Sprintf("%s, %d cores; %s/%s, %s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
