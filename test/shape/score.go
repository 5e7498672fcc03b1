package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// maxFalse is the share of windows without the event at which hits are counted.
const maxFalse = 0.01

// scored is a window with the score that an attacker gave it.
type scored struct {
	session  int
	positive bool
	score    float64
}

// curve holds windows by falling score.
type curve []scored

func newCurve(windows []window, scores []float64) curve {
	c := make(curve, len(windows))
	for i, w := range windows {
		c[i] = scored{session: w.session, positive: w.positive, score: scores[i]}
	}
	slices.SortStableFunc(c, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	return c
}

// figures are an attacker's success.
type figures struct {
	AUC  float64 // the chance that a window with the event scores higher than one without; 0.5 is guessing
	TPR  float64 // the share of windows with the event over a threshold that 1 % of the others are over, those on it in part
	TPR0 float64 // the same for a threshold that none of the others is over
}

// figures returns the success if each session counts as often as weights says; nil: once. It is false if there are not
// windows of both kinds.
func (c curve) figures(weights []int) (figures, bool) {
	var positive, negative int
	for _, w := range c {
		if w.positive {
			positive += w.weight(weights)
		} else {
			negative += w.weight(weights)
		}
	}
	if positive == 0 || negative == 0 {
		return figures{}, false
	}
	var f figures
	var hits, alarms int
	var area float64
	for i := 0; i < len(c); {
		var p, n int
		for score := c[i].score; i < len(c) && c[i].score == score; i++ {
			if c[i].positive {
				p += c[i].weight(weights)
			} else {
				n += c[i].weight(weights)
			}
		}
		area += float64(n) * (float64(hits) + float64(p)/2)
		share := float64(p) / float64(positive)
		if room := maxFalse*float64(negative) - float64(alarms); float64(n) <= room {
			f.TPR += share
		} else if room > 0 {
			f.TPR += share * room / float64(n)
		}
		hits, alarms = hits+p, alarms+n
		if alarms == 0 {
			f.TPR0 = float64(hits) / float64(positive)
		}
	}
	f.AUC = area / float64(positive) / float64(negative)
	return f, true
}

func (s scored) weight(weights []int) int {
	if weights == nil {
		return 1
	}
	return weights[s.session]
}

// resample returns how often each of n sessions is drawn, if n are drawn with replacement.
func resample(n int, rng *rand.Rand) []int {
	weights := make([]int, n)
	for range n {
		weights[rng.IntN(n)]++
	}
	return weights
}

// quantile returns the q-quantile of values, which it sorts.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	at := q * float64(len(values)-1)
	low := int(at)
	if low+1 == len(values) {
		return values[low]
	}
	return values[low] + (at-float64(low))*(values[low+1]-values[low])
}

// bound returns what a further value exceeds with the chance of 1-q, if values are many enough to say; else the largest of
// them. It sorts them.
func bound(values []float64, q float64) float64 {
	n := float64(len(values))
	if n < 2 {
		return quantile(values, 1)
	}
	return quantile(values, min(1, (q*(n+1)-1)/(n-1)))
}
