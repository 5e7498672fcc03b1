package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	maxBins = 48 // values of a feature that a forest tells apart
	minLeaf = 2  // rows in a leaf
)

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

// node is a split of a tree or a leaf.
type node struct {
	column int32 // -1: a leaf
	cut    uint8 // rows with bins up to it go left
	left   int32
	right  int32
	share  float32 // of the positive rows in a leaf, both classes having the same weight
}

// forest is a random forest: trees that each learned from rows drawn with replacement, and that chose each split
// among a few random columns.
type forest struct{ trees [][]node }

// train returns a forest that has learned from the given rows of t. Both classes weigh the same, however many rows they have.
func train(t *table, positive []bool, rows []int, trees int, rng *rand.Rand) *forest {
	g := &grower{table: t, positive: positive, rng: rng, order: slices.Clone(t.varied),
		tries: max(1, int(math.Sqrt(float64(len(t.varied))))), weights: make([]float32, t.rows)}
	f := &forest{trees: make([][]node, trees)}
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
	weights  []float32
	nodes    []node
	sums     [maxBins][2]float32 // weights of a column's bins, by class
	counts   [maxBins]int32
}

// tree returns a tree that has learned from as many of rows as there are, drawn with replacement.
func (g *grower) tree(rows []int) []node {
	clear(g.weights)
	var drawn [2]float32
	for range rows {
		row := rows[g.rng.IntN(len(rows))]
		g.weights[row]++
		drawn[class(g.positive[row])]++
	}
	used := make([]int32, 0, len(rows))
	for _, row := range rows {
		if g.weights[row] > 0 {
			g.weights[row] /= drawn[class(g.positive[row])]
			used = append(used, int32(row))
		}
	}
	g.nodes = nil
	g.grow(used)
	return g.nodes
}

func class(positive bool) int {
	if positive {
		return 1
	}
	return 0
}

// grow adds the node for rows and all under it, and returns its index.
func (g *grower) grow(rows []int32) int32 {
	var total [2]float32
	for _, row := range rows {
		total[class(g.positive[row])] += g.weights[row]
	}
	at := int32(len(g.nodes))
	g.nodes = append(g.nodes, node{column: -1, share: share(total)})
	if len(rows) < 2*minLeaf || total[0] == 0 || total[1] == 0 {
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
	g.nodes[at].column, g.nodes[at].cut, g.nodes[at].left, g.nodes[at].right = int32(column), cut, left, right
	return at
}

func share(total [2]float32) float32 {
	if total[0]+total[1] == 0 {
		return 0.5
	}
	return total[1] / (total[0] + total[1])
}

// split returns the split of rows with the least Gini impurity among a few random columns that have two values here; or -1.
func (g *grower) split(rows []int32, total [2]float32) (column int, cut uint8) {
	column = -1
	// best is the impurity to get below: that of rows.
	best := impurity(total)
	best -= best * 1e-6
	tried := 0
	for i := range g.order {
		j := i + g.rng.IntN(len(g.order)-i)
		g.order[i], g.order[j] = g.order[j], g.order[i]
		c := g.order[i]
		last := len(g.table.cuts[c]) // the last bin
		clear(g.sums[:last+1])
		clear(g.counts[:last+1])
		bins := g.table.columns[c]
		for _, row := range rows {
			b := bins[row]
			g.sums[b][class(g.positive[row])] += g.weights[row]
			g.counts[b]++
		}
		var left [2]float32
		var n int32
		for b := range last {
			if g.counts[b] == 0 {
				continue
			}
			left[0] += g.sums[b][0]
			left[1] += g.sums[b][1]
			n += g.counts[b]
			if n == int32(len(rows)) {
				break
			}
			if n < minLeaf || int32(len(rows))-n < minLeaf {
				continue
			}
			if rest := [2]float32{total[0] - left[0], total[1] - left[1]}; impurity(left)+impurity(rest) < best {
				best, column, cut = impurity(left)+impurity(rest), c, uint8(b)
			}
		}
		if n > 0 && n < int32(len(rows)) || g.counts[last] > 0 && g.counts[last] < int32(len(rows)) {
			tried++ // more than one value here
		}
		if tried == g.tries {
			break
		}
	}
	return column, cut
}

// impurity returns the Gini impurity of rows with these weights, times their weight.
func impurity(sums [2]float32) float32 {
	all := sums[0] + sums[1]
	if all <= 0 {
		return 0
	}
	return 2 * max(sums[0], 0) * max(sums[1], 0) / all
}
