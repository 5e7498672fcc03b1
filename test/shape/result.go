package main

import (
	"math/rand/v2"
	"time"
)

// Report is what the attackers found, and what shaping costs.
type Report struct {
	Node     string
	Commit   string
	Began    time.Time
	RTT      time.Duration
	Length   time.Duration
	Sessions int
	Filter   int // the median size of filters that wallets got, in bytes
	Block    int // likewise of blocks
	TooShort int // sessions that ended too soon to be attacked
	Seeds    []uint64
	Trees    int
	Folds    int
	Turns    int // how often labels were turned round within sessions to see what chance does
	Features int
	Results  []*Result
	Rules    []RuleResult
	Sizes    []SizeResult
	Costs    []Cost
	Goals    []Goal
}

// Estimate is the mean of the seeds' figures with the interval that 95 of 100 draws of the sessions give.
type Estimate struct {
	Mean, Low, High float64
	Seeds           []float64 // the figure of each seed
}

// Result is how well forests find one kind of action in one cell and view.
type Result struct {
	Task, Mode, Client string
	View               view
	Sessions           int
	Positive, Negative int      // windows, of one seed
	AUC, TPR, TPR0     Estimate // of forests that learned from other sessions of the same cell
	Naive              *figures // of forests that learned from unshaped sessions; nil for off
	// Chance is what the means of the seeds stay under in 39 of 40 turns of the labels round within sessions, from which
	// forests learn anew.
	Chance figures
	// AtChance reports that the means of AUC and TPR are not over Chance.
	AtChance bool
	// Compared reports that the same client was recorded without shaping.
	Compared bool
	// Improved reports that the interval of TPR is under that of the same client without shaping; Worse that it is over it.
	Improved, Worse bool

	task      task
	cell, off *cell
}

// none reports whether there was nothing to find.
func (r *Result) none() bool { return r.Positive == 0 || len(r.AUC.Seeds) == 0 }

func (r *Result) count(windows []window) {
	r.Sessions, r.Positive, r.Negative = len(r.cell.sessions), 0, 0
	for _, w := range windows {
		if w.positive {
			r.Positive++
		} else {
			r.Negative++
		}
	}
}

// estimate fills r from the curves of the seeds, and from those of each turn of the labels.
func (r *Result) estimate(curves []curve, turned [][]curve, rng *rand.Rand) {
	fields := []struct {
		to     *Estimate
		of     func(figures) float64
		chance *float64
	}{
		{&r.AUC, func(f figures) float64 { return f.AUC }, &r.Chance.AUC},
		{&r.TPR, func(f figures) float64 { return f.TPR }, &r.Chance.TPR},
		{&r.TPR0, func(f figures) float64 { return f.TPR0 }, &r.Chance.TPR0},
	}
	var own []figures
	for _, c := range curves {
		f, ok := c.figures(nil)
		if !ok {
			return
		}
		own = append(own, f)
	}
	var chance []figures
	for _, curves := range turned {
		if f := mean(curves, nil); f != nil {
			chance = append(chance, *f)
		}
	}
	draws := r.draws(curves, rng)
	for _, field := range fields {
		var sum float64
		for _, f := range own {
			field.to.Seeds = append(field.to.Seeds, field.of(f))
			sum += field.of(f)
		}
		field.to.Mean = sum / float64(len(own))
		field.to.Low = quantile(pick(draws, field.of), (1-confidence)/2)
		field.to.High = quantile(pick(draws, field.of), (1+confidence)/2)
		*field.chance = bound(pick(chance, field.of), (1+confidence)/2)
	}
	r.AtChance = r.AUC.Mean <= r.Chance.AUC && r.TPR.Mean <= r.Chance.TPR
}

// draws returns the mean figures of curves for sessions that are drawn with replacement, again and again.
func (r *Result) draws(curves []curve, rng *rand.Rand) []figures {
	var all []figures
	for range resamples {
		weights := resample(len(r.cell.sessions), rng)
		if f := mean(curves, weights); f != nil {
			all = append(all, *f)
		}
	}
	return all
}

func pick(all []figures, of func(figures) float64) []float64 {
	values := make([]float64, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	return values
}

// compare says of each result whether it is better or worse than without shaping.
func (r *Report) compare() {
	for _, result := range r.Results {
		off := r.result(result.Task, modeOff, result.Client, result.View)
		if off == nil || off == result || off.none() || result.none() {
			continue
		}
		result.Compared = true
		result.Improved = result.TPR.High < off.TPR.Low
		result.Worse = result.TPR.Low > off.TPR.High
	}
}

// result returns the result for one task, cell and view: nil if there is none.
func (r *Report) result(task, mode, client string, v view) *Result {
	for _, result := range r.Results {
		if result.Task == task && result.Mode == mode && result.Client == client && result.View == v {
			return result
		}
	}
	return nil
}
