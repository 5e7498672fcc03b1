package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
)

// row is a line of the table: a figure and, if any, the limit to compare it with.
type row struct {
	what   string
	unit   string
	got    float64
	limit  float64 // zero: none, or none in this unit
	of     string  // what the limit consists of
	target float64 // maximum for ratio or, without a limit, for got; zero: none
	note   string
}

// ratio returns the figure that target bounds.
func (r row) ratio() float64 {
	if r.limit == 0 {
		return r.got
	}
	return r.got / r.limit
}

// table formats rows as Markdown.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| what | proxy | limit | ratio | target | |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		limit, ratio, target, met := "", "", "", ""
		if r.limit != 0 {
			limit = fmt.Sprintf("%s %s", figure(r.limit), r.of)
			ratio = fmt.Sprintf("%.2f", r.ratio())
		}
		if r.target != 0 {
			target, met = "≤ "+figure(r.target), "met"
			if r.ratio() > r.target {
				met = "**missed**"
			}
		}
		if r.note != "" {
			met = strings.TrimPrefix(met+"; "+r.note, "; ")
		}
		fmt.Fprintf(&b, "| %s, %s | %s | %s | %s | %s | %s |\n", r.what, r.unit, figure(r.got), limit, ratio, target, met)
	}
	return b.String()
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
