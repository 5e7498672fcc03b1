package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"bip324proxy/transport"
)

// The modes of shaping.
const (
	modeOff    = "off"
	modePad    = "pad"
	modeCover  = "cover"
	modeTunnel = "tunnel"
)

const (
	bucket = 1024 // pad's smallest write
	// timer is the most that the median of times may differ by where shaping delays nothing.
	timer = 5 * time.Millisecond
	// atChance ends the names of goals that chance alone can miss.
	atChance = ": at chance"
)

// Goal is a figure that was fixed before any recording was made.
type Goal struct {
	Mode, What string
	Got        string
	Reached    bool
}

// judge collects goals.
type judge struct {
	*Report
	cells []*cell
	all   []Goal
}

// goals compares report with the figures to reach.
func goals(report *Report, cells []*cell) []Goal {
	j := &judge{Report: report, cells: cells}
	j.pad()
	j.cover()
	j.tunnel()
	for _, mode := range []string{modePad, modeCover, modeTunnel} {
		j.each(mode, "sessions that ended early: 0", func(c Cost) (string, bool) { return fmt.Sprint(c.Disconnected), c.Disconnected == 0 })
	}
	return j.all
}

func (j *judge) pad() {
	var seen, odd int
	for _, c := range j.cells {
		if c.mode != modePad {
			continue
		}
		for _, s := range c.sessions {
			for _, write := range writes(viewUp.of(s.Segments)) {
				seen++
				if write%bucket != 0 { // not write sizes alone: two writes may be read as one
					odd++
				}
			}
		}
	}
	if seen > 0 {
		j.add(modePad, "reads upstream that are not sums of bucket sizes: 0", fmt.Sprintf("%d of %d", odd, seen), odd == 0)
	}
	for _, s := range j.Sizes {
		if s.Mode == modePad && s.Transactions > 0 {
			j.add(modePad, "bits left of a transaction's size, on the list: ≤ 0.3", fmt.Sprintf("%.2f of %.2f", s.ListLeft, s.ListBits), round(s.ListLeft, 2) <= 0.3)
			break // the same for all clients
		}
	}
	j.each(modePad, "added median delay of own transactions: 0 ms", func(c Cost) (string, bool) {
		if c.Added == nil {
			return "", false
		}
		return fmt.Sprintf("%d ms", c.Added.Milliseconds()), *c.Added <= timer
	})
	j.each(modePad, fmt.Sprintf("a day of a light wallet (%d writes): ≤ 3 MB", writesADay), func(c Cost) (string, bool) {
		if c.Mainnet == 0 {
			return "", false
		}
		return fmt.Sprintf("%.1f MB", c.Mainnet), round(c.Mainnet, 1) <= 3
	})
}

func (j *judge) cover() {
	for _, task := range tasks {
		j.results(modeCover, task.Name, []view{viewUp}, task.Question+", upstream alone"+atChance, func(r *Result) (string, bool) {
			return fmt.Sprintf("AUC %.2f, seeds %s, chance ≤ %.2f", r.AUC.Mean, list(r.AUC.Seeds), r.Chance.AUC), r.AUC.Mean <= r.Chance.AUC
		})
	}
	j.results(modeCover, "tx", []view{viewBoth}, "own transaction pushed: TPR ≤ 0.05", func(r *Result) (string, bool) {
		if r.Client != "push" {
			return "", false
		}
		return rate(r), round(r.TPR.Mean, 2) <= 0.05
	})
	// Cells of 1,024 bytes each 2 s are 44.2 MB, but times are drawn: a recording has some more or less.
	j.each(modeCover, "a day: ≤ 44 MB, give or take two standard errors", func(c Cost) (string, bool) {
		return fmt.Sprintf("%.1f MB; recorded %.1f ± %.1f", c.Mainnet, c.MBPerDay, 2*c.MBError),
			c.Mainnet > 0 && round(c.Mainnet, 0) <= 44 && round(c.MBPerDay-2*c.MBError, 0) <= 44
	})
	j.ping(modeCover)
}

func (j *judge) tunnel() {
	j.results(modeTunnel, "tx", views, "own transaction sent: TPR ≤ 0.05", func(r *Result) (string, bool) {
		return rate(r), round(r.TPR.Mean, 2) <= 0.05
	})
	j.results(modeTunnel, "announce", []view{viewBoth}, "block announced: TPR ≤ 0.10", func(r *Result) (string, bool) {
		return rate(r), round(r.TPR.Mean, 2) <= 0.1
	})
	j.each(modeTunnel, "added median delay of own transactions: ≤ 3 s", func(c Cost) (string, bool) {
		if c.Added == nil {
			return "", false
		}
		return fmt.Sprintf("%.1f s; %.1f s in all", c.Added.Seconds(), c.Transaction.Median.Seconds()), *c.Added <= 3*time.Second
	})
	j.ping(modeTunnel)
}

// ping compares the node's least ping times with the round trip and a quarter of the time between cells.
func (j *judge) ping(mode string) {
	for _, c := range j.Costs {
		shape, err := transport.ParseShape(c.Shape)
		if c.Mode != mode || c.MinPing.Count == 0 || err != nil {
			continue
		}
		limit := j.RTT + shape.WithDefaults().Every/4
		j.add(mode+" "+c.Client, fmt.Sprintf("the node's min ping, in 95 %% of sessions: ≤ %.2f s", limit.Seconds()),
			fmt.Sprintf("%.2f s", c.MinPing.Most.Seconds()), c.MinPing.Most <= limit)
	}
}

// each adds a goal for each client of mode that got has something for.
func (j *judge) each(mode, what string, got func(Cost) (string, bool)) {
	for _, c := range j.Costs {
		if c.Mode == mode {
			if text, ok := got(c); text != "" {
				j.add(mode+" "+c.Client, what, text, ok)
			}
		}
	}
}

// results adds a goal for each client of mode and each of views.
func (j *judge) results(mode, task string, views []view, what string, got func(*Result) (string, bool)) {
	for _, v := range views {
		for _, r := range j.Results {
			if r.Mode != mode || r.Task != task || r.View != v || r.none() {
				continue
			}
			if text, ok := got(r); text != "" {
				of := mode + " " + r.Client
				if len(views) > 1 {
					of += ", " + string(v)
				}
				j.add(of, what, text, ok)
			}
		}
	}
}

func (j *judge) add(mode, what, got string, reached bool) {
	j.all = append(j.all, Goal{Mode: mode, What: what, Got: got, Reached: reached})
}

// rate describes how often the forests of r hit.
func rate(r *Result) string {
	return fmt.Sprintf("%.2f [%.2f, %.2f], seeds %s", r.TPR.Mean, r.TPR.Low, r.TPR.High, list(r.TPR.Seeds))
}

// list formats the figures of seeds.
func list(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprintf("%.2f", v)
	}
	return strings.Join(texts, " ")
}

// round rounds to as many digits as a goal has.
func round(x float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(x*unit) / unit
}
