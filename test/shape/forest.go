package main

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// maxBins is how many values of a feature a forest tells apart, at most.
const maxBins = 64

// table holds the features of many windows by column, in few values: bin b of a column holds what is over the column's
// cuts before b and not over its cut b.
type table struct {
	cuts    [][]float32 // by column
	columns [][]uint8
	varied  []int // the columns with two values at least
	rows    int
}

// newTable returns rows, which all have the same number of features, with cuts between their quantiles. It sees no labels.
func newTable(rows [][]float32) *table {
	t := &table{}
	if len(rows) == 0 {
		return t
	}
	t.cuts = make([][]float32, len(rows[0]))
	values := make([]float32, len(rows))
	for c := range t.cuts {
		for i, row := range rows {
			values[i] = row[c]
		}
		slices.Sort(values)
		t.cuts[c] = cutsOf(values)
		if len(t.cuts[c]) > 0 {
			t.varied = append(t.varied, c)
		}
	}
	t.fill(rows)
	return t
}

// like returns rows with the cuts of t.
func (t *table) like(rows [][]float32) *table {
	other := &table{cuts: t.cuts, varied: t.varied}
	other.fill(rows)
	return other
}

func (t *table) fill(rows [][]float32) {
	t.rows = len(rows)
	t.columns = make([][]uint8, len(t.cuts))
	for c, cuts := range t.cuts {
		column := make([]uint8, len(rows))
		for i, row := range rows {
			b, _ := slices.BinarySearch(cuts, row[c])
			column[i] = uint8(b)
		}
		t.columns[c] = column
	}
}

// cutsOf returns at most maxBins-1 cuts between the values of sorted, each the last value of its bin.
func cutsOf(sorted []float32) []float32 {
	distinct := slices.Compact(slices.Clone(sorted))
	if len(distinct) <= maxBins {
		return distinct[:len(distinct)-1]
	}
	var cuts []float32
	for b := 1; b < maxBins; b++ {
		cut := sorted[len(sorted)*b/maxBins]
		if cut == distinct[len(distinct)-1] {
			break
		}
		if len(cuts) == 0 || cuts[len(cuts)-1] != cut {
			cuts = append(cuts, cut)
		}
	}
	return cuts
}

// branch is a split of a tree or a leaf.
type branch struct {
	column int32 // -1: a leaf
	cut    uint8 // rows with bins up to it go left
	left   int32
	right  int32
	share  float32 // of the positive rows in a leaf, both classes having the same weight
}

// forest is a random forest: trees that each learned from rows drawn with replacement, and that chose each split
// among a few random columns.
type forest struct{ trees [][]branch }

// train returns a forest that has learned from the given rows of t. Both classes weigh the same, however many rows they have.
func train(t *table, positive []bool, rows []int, trees int, rng *rand.Rand) *forest {
	g := &grower{table: t, positive: positive, rng: rng, order: slices.Clone(t.varied),
		tries: max(1, int(math.Sqrt(float64(len(t.varied))))), weights: make([]weight, t.rows)}
	f := &forest{trees: make([][]branch, trees)}
	for i := range f.trees {
		f.trees[i] = g.tree(rows)
	}
	return f
}

// scores returns the mean share of positive rows in the leaves that each of the given rows of t falls into.
func (f *forest) scores(t *table, rows []int) []float64 {
	result := make([]float64, len(rows))
	for i, row := range rows {
		var sum float64
		for _, tree := range f.trees {
			n := &tree[0]
			for n.column >= 0 {
				if t.columns[n.column][row] <= n.cut {
					n = &tree[n.left]
				} else {
					n = &tree[n.right]
				}
			}
			sum += float64(n.share)
		}
		result[i] = sum / float64(len(f.trees))
	}
	return result
}

// grower grows the trees of a forest.
type grower struct {
	table    *table
	positive []bool
	rng      *rand.Rand
	order    []int // the columns that can be split at, in random order
	tries    int   // columns to choose a split from
	weights  []weight
	branches []branch
	own      []weight        // of a branch's rows
	bins     [maxBins]weight // of a column: all zero between uses
}

// weight is that of rows, by class.
type weight struct{ negative, positive float32 }

func (w *weight) add(other weight) {
	w.negative += other.negative
	w.positive += other.positive
}

// tree returns a tree that has learned from as many of rows as there are, drawn with replacement.
func (g *grower) tree(rows []int) []branch {
	clear(g.weights)
	var drawn weight
	for range rows {
		row := rows[g.rng.IntN(len(rows))]
		if g.positive[row] {
			g.weights[row].positive++
			drawn.positive++
		} else {
			g.weights[row].negative++
			drawn.negative++
		}
	}
	used := make([]int32, 0, len(rows))
	for _, row := range rows {
		if w := &g.weights[row]; *w != (weight{}) {
			w.negative /= max(1, drawn.negative)
			w.positive /= max(1, drawn.positive)
			used = append(used, int32(row))
		}
	}
	g.branches = nil
	g.grow(used)
	return g.branches
}

// grow adds the branch for rows and all under it, and returns its index.
func (g *grower) grow(rows []int32) int32 {
	var total weight
	for _, row := range rows {
		total.add(g.weights[row])
	}
	at := int32(len(g.branches))
	g.branches = append(g.branches, branch{column: -1, share: total.positive / (total.negative + total.positive)})
	if total.negative == 0 || total.positive == 0 {
		return at
	}
	column, cut := g.split(rows, total)
	if column < 0 {
		return at
	}
	bins, n := g.table.columns[column], 0
	for i, row := range rows {
		if bins[row] <= cut {
			rows[i], rows[n] = rows[n], row
			n++
		}
	}
	left := g.grow(rows[:n])
	right := g.grow(rows[n:])
	g.branches[at].column, g.branches[at].cut, g.branches[at].left, g.branches[at].right = int32(column), cut, left, right
	return at
}

// split returns the split of rows with the least Gini impurity among a few random columns that have two values here; or -1.
func (g *grower) split(rows []int32, total weight) (column int, cut uint8) {
	column = -1
	// best is the impurity to get below: that of rows, but for what rounding does.
	all := total.negative + total.positive
	best := total.negative * total.positive / all * (1 - 1e-5)
	g.own = g.own[:0]
	for _, row := range rows {
		g.own = append(g.own, g.weights[row])
	}
	weights := g.own[:len(rows)]
	tried := 0
	for i := range g.order {
		j := i + g.rng.IntN(len(g.order)-i)
		g.order[i], g.order[j] = g.order[j], g.order[i]
		c := g.order[i]
		values := g.table.columns[c]
		var used uint64 // bins with rows
		for i, row := range rows {
			b := values[row] & (maxBins - 1)
			w, bin := weights[i], &g.bins[b]
			bin.negative += w.negative
			bin.positive += w.positive
			used |= 1 << b
		}
		if used&(used-1) != 0 {
			tried++ // more than one value here
		}
		var left weight
		for used != 0 {
			b := bits.TrailingZeros64(used)
			used &= used - 1
			left.add(g.bins[b])
			g.bins[b] = weight{}
			if used == 0 {
				break // nothing is on the other side
			}
			negative, positive := max(0, total.negative-left.negative), max(0, total.positive-left.positive)
			l, r := left.negative+left.positive, negative+positive
			// The sum of both sides' impurities is over l·r here.
			if sum := left.negative*left.positive*r + negative*positive*l; sum < best*l*r {
				best, column, cut = sum/(l*r), c, uint8(b)
			}
		}
		if tried == g.tries {
			break
		}
	}
	return column, cut
}
