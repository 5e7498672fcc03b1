package main

import (
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"sync"
)

const (
	maxFolds   = 5    // parts that the sessions of a cell are split into: a session is scored by trees that saw no window of it
	resamples  = 1000 // of the sessions, for the intervals
	confidence = 0.95
)

// effort is how much attackers compute.
type effort struct {
	trees     int // of a forest
	turns     int // how often labels are turned round within sessions
	turnTrees int // of the forests that learn from turned labels: with more, their figures spread no less
}

// full is the effort of the figures that are published, fixed before any recording was made. Two cores need three
// minutes for 120 sessions of four minutes and three seeds.
var full = effort{trees: 200, turns: 40, turnTrees: 15}

// task is what attackers look for.
type task struct {
	Name     string // in a Result
	Kind     string // of the action
	Control  string // if not empty: the kind of action that it follows at once, or does not
	Without  string // if not empty: it does not count if an action of this kind follows within a window
	Question string // what the tables call it
}

var tasks = []task{
	{Name: "tx", Kind: "tx", Question: "own transaction sent"},
	{Name: "announce", Kind: "announce", Question: "block announced"},
	{Name: "announce alone", Kind: "announce", Without: "block", Question: "block announced that the wallet does not fetch"},
	{Name: "block", Kind: "block", Control: "filters", Question: "block fetched after its filter"},
}

// attack looks for the actions of r in what an eavesdropper saw, once for each of seeds, which must not be empty.
func attack(r *Recording, seeds []uint64) *Report { return full.attack(r, seeds) }

func (e effort) attack(r *Recording, seeds []uint64) *Report {
	cells, short := cellsOf(r)
	report := &Report{
		Node: r.Node, Commit: r.Commit, Began: r.Began, RTT: r.RTT, Length: r.Length, Sessions: len(r.Sessions), TooShort: short,
		Seeds: seeds, Trees: e.trees, Folds: maxFolds, Turns: e.turns, Features: len(features(nil, 0)),
	}
	report.Filter, report.Block = medianSize(r, "filters"), medianSize(r, "block")
	unshaped := map[string]*cell{}
	for _, c := range cells {
		if c.mode == modeOff {
			unshaped[c.client] = c
		}
	}
	for _, task := range tasks {
		for _, c := range cells {
			for _, v := range views {
				report.Results = append(report.Results, &Result{Task: task.Name, task: task, Mode: c.mode, Client: c.client, View: v, cell: c, off: unshaped[c.client]})
			}
		}
	}
	each(len(report.Results), func(i int) { report.Results[i].find(seeds, e) })
	report.compare()
	report.Sizes = sizesLeft(cells, transactionSizes)
	for _, c := range cells {
		report.Costs = append(report.Costs, costsOf(r, c, unshaped[c.client]))
	}
	for _, task := range tasks {
		for _, c := range cells {
			report.Rules = append(report.Rules, tryRules(c, task, seeds[0])...)
		}
	}
	report.Goals = goals(report, cells)
	return report
}

// each calls f with 0 to n-1, as many at once as there are processors.
func each(n int, f func(i int)) {
	work := make(chan int)
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for i := range work {
				f(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	running.Wait()
}

// newRand returns a generator that depends on seed and purpose alone.
func newRand(seed uint64, purpose ...string) *rand.Rand {
	h := fnv.New64a()
	for _, p := range purpose {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// find fills r with what forests find.
func (r *Result) find(seeds []uint64, e effort) {
	seen := r.cell.seen(r.View)
	var curves, unadapted []curve
	chance := make([][]curve, e.turns) // of each turn, by seed
	for _, seed := range seeds {
		// Views share windows and folds: they differ in nothing but what is seen.
		rng := newRand(seed, r.Task, r.Mode, r.Client)
		windows := r.cell.windows(r.task, nil, rng)
		folds := r.cell.folds(min(maxFolds, len(r.cell.sessions)), rng)
		own := newRand(seed, r.Task, r.Mode, r.Client, string(r.View))
		c, ok := adaptive(seen, windows, folds, e.trees, own)
		if !ok {
			return
		}
		curves = append(curves, c)
		r.count(windows)
		if r.off != nil && r.off != r.cell {
			if c, ok := r.naive(seen, windows, seed, e.trees, own); ok {
				unadapted = append(unadapted, c)
			}
		}
		for i := range e.turns {
			// All seeds turn labels by the same, so that the means of their figures can be compared with those of true labels.
			turned := r.cell.turned(newRand(uint64(i), "turn", r.Task, r.Mode, r.Client))
			if c, ok := adaptive(seen, r.cell.windows(r.task, turned, own), folds, e.turnTrees, own); ok {
				chance[i] = append(chance[i], c)
			}
		}
	}
	r.estimate(curves, chance, newRand(seeds[0], "bootstrap", r.Mode, r.Client))
	r.Naive = mean(unadapted, nil)
}

// seen returns what of each session of c is seen.
func (c *cell) seen(v view) [][]Segment {
	all := make([][]Segment, len(c.sessions))
	for i, s := range c.sessions {
		all[i] = v.of(s.Segments)
	}
	return all
}

// adaptive scores each window by a forest that learned from the sessions of the other folds. It is false where such a
// forest has nothing to learn from.
func adaptive(seen [][]Segment, windows []window, folds []int, trees int, rng *rand.Rand) (curve, bool) {
	t := newTable(rowsOf(seen, windows))
	positive := labels(windows)
	scores := make([]float64, len(windows))
	for fold := range maxFolds {
		var learn, test []int
		var kinds [2]int
		for i, w := range windows {
			if folds[w.session] == fold {
				test = append(test, i)
			} else {
				learn = append(learn, i)
				kinds[class(w.positive)]++
			}
		}
		if len(test) == 0 {
			continue
		}
		if kinds[0] == 0 || kinds[1] == 0 {
			return nil, false
		}
		for i, score := range train(t, positive, learn, trees, rng).scores(t, test) {
			scores[test[i]] = score
		}
	}
	return newCurve(windows, scores), true
}

// naive scores windows by a forest that learned from all sessions of the same kind of client that are not shaped.
func (r *Result) naive(seen [][]Segment, windows []window, seed uint64, trees int, rng *rand.Rand) (curve, bool) {
	known := r.off.windows(r.task, nil, newRand(seed, r.Task, r.off.mode, r.off.client))
	positive := labels(known)
	t := newTable(rowsOf(r.off.seen(r.View), known))
	all := make([]int, len(known))
	var kinds [2]int
	for i := range all {
		all[i] = i
		kinds[class(positive[i])]++
	}
	if kinds[0] == 0 || kinds[1] == 0 {
		return nil, false
	}
	rows := make([]int, len(windows))
	for i := range rows {
		rows[i] = i
	}
	scores := train(t, positive, all, trees, rng).scores(t.like(rowsOf(seen, windows)), rows)
	return newCurve(windows, scores), true
}

func rowsOf(seen [][]Segment, windows []window) [][]float32 {
	rows := make([][]float32, len(windows))
	for i, w := range windows {
		rows[i] = features(seen[w.session], w.start)
	}
	return rows
}

func labels(windows []window) []bool {
	positive := make([]bool, len(windows))
	for i, w := range windows {
		positive[i] = w.positive
	}
	return positive
}

// mean returns the mean figures of curves if sessions count as often as weights says: nil if there are none.
func mean(curves []curve, weights []int) *figures {
	var sum figures
	for _, c := range curves {
		f, ok := c.figures(weights)
		if !ok {
			return nil
		}
		sum.AUC += f.AUC / float64(len(curves))
		sum.TPR += f.TPR / float64(len(curves))
		sum.TPR0 += f.TPR0 / float64(len(curves))
	}
	if len(curves) == 0 {
		return nil
	}
	return &sum
}

// class returns 1 for windows with the event, else 0.
func class(positive bool) int {
	if positive {
		return 1
	}
	return 0
}
