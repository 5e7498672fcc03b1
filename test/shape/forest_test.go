package main

import (
	"math/rand/v2"
	"testing"
)

// testRand returns a generator that draws the same numbers each time.
func testRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// draw returns n rows with columns random features each, and the labels that label gives them.
func draw(n, columns int, rng *rand.Rand, label func(row []float32) bool) (rows [][]float32, positive []bool) {
	for range n {
		row := make([]float32, columns)
		for c := range row {
			row[c] = rng.Float32()
		}
		rows = append(rows, row)
		positive = append(positive, label(row))
	}
	return rows, positive
}

// errorsOf trains on the first half of rows and returns the share of the second that is on the wrong side of ½.
func errorsOf(rows [][]float32, positive []bool, trees int) float64 {
	t := newTable(rows)
	var first, second []int
	for i := range rows {
		if i < len(rows)/2 {
			first = append(first, i)
		} else {
			second = append(second, i)
		}
	}
	wrong := 0
	for i, score := range train(t, positive, first, trees, testRand()).scores(t, second) {
		if (score > 0.5) != positive[second[i]] {
			wrong++
		}
	}
	return float64(wrong) / float64(len(second))
}

// TestForestLearns trains forests on labels that follow from the features: by a threshold, by an interval, and by the
// exclusive or of two, of which none says anything alone.
func TestForestLearns(t *testing.T) {
	for name, label := range map[string]func(row []float32) bool{
		"threshold": func(row []float32) bool { return row[3] > 0.8 },
		"interval":  func(row []float32) bool { return row[1] > 0.4 && row[1] < 0.6 },
		"xor":       func(row []float32) bool { return (row[0] > 0.5) != (row[2] > 0.5) },
	} {
		rows, positive := draw(2000, 6, testRand(), label)
		if wrong := errorsOf(rows, positive, 100); wrong > 0.08 {
			t.Errorf("%s: %.0f %% of the rows that the forest had not seen are wrong", name, 100*wrong)
		}
	}
}

// TestForestIgnoresNoise trains a forest on labels that the features say nothing about: it finds nothing.
func TestForestIgnoresNoise(t *testing.T) {
	rng := testRand()
	rows, positive := draw(2000, 6, rng, func([]float32) bool { return rng.IntN(2) == 0 })
	if wrong := errorsOf(rows, positive, 100); wrong < 0.45 || wrong > 0.55 {
		t.Errorf("%.0f %% of the rows are wrong; must be half", 100*wrong)
	}
}

// TestForestBalance trains a forest on one positive row in fifty that a feature gives away half the time: rows without the
// feature do not score as negative as their number would say.
func TestForestBalance(t *testing.T) {
	rows, positive := make([][]float32, 1000), make([]bool, 1000)
	all := make([]int, 1000)
	for i := range rows {
		all[i] = i
		positive[i] = i%50 == 0
		rows[i] = []float32{0}
		if i%100 == 0 {
			rows[i][0] = 1
		}
	}
	table := newTable(rows)
	scores := train(table, positive, all, 200, testRand()).scores(table, []int{0, 50, 51})
	if scores[0] < 0.99 || scores[1] < 0.2 || scores[1] > 0.45 || scores[1] != scores[2] {
		t.Errorf("scores are %.2f with the feature, %.2f and %.2f without; must be 1 and twice about a third", scores[0], scores[1], scores[2])
	}
}

// TestForestRepeats trains a forest twice with the same seed: scores are the same.
func TestForestRepeats(t *testing.T) {
	rows, positive := draw(300, 6, testRand(), func(row []float32) bool { return row[3] > 0.8 })
	table := newTable(rows)
	all := make([]int, len(rows))
	for i := range all {
		all[i] = i
	}
	a := train(table, positive, all, 10, testRand()).scores(table, all)
	b := train(table, positive, all, 10, testRand()).scores(table, all)
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("row %d scores %v and then %v", i, a[i], b[i])
		}
	}
}

// TestTable cuts columns with few, many and equal values, and applies the cuts to other rows.
func TestTable(t *testing.T) {
	var rows [][]float32
	for i := range 1000 {
		rows = append(rows, []float32{float32(i % 3), float32(i), 7})
	}
	table := newTable(rows)
	if len(table.varied) != 2 || len(table.cuts[0]) != 2 || len(table.cuts[1]) != maxBins-1 || len(table.cuts[2]) != 0 {
		t.Fatalf("columns %v vary, with %d, %d and %d cuts", table.varied, len(table.cuts[0]), len(table.cuts[1]), len(table.cuts[2]))
	}
	other := table.like([][]float32{{-1, -1, 0}, {0.5, 1e9, 9}, {5, 500, 7}})
	for c, want := range [][]uint8{{0, 1, 2}, {0, maxBins - 1, maxBins/2 - 1}, {0, 0, 0}} {
		for i := range want {
			if got := other.columns[c][i]; got != want[i] {
				t.Errorf("column %d, row %d is in bin %d, not %d", c, i, got, want[i])
			}
		}
	}
}
