package main

import (
	"math"
	"testing"
	"time"
)

// powerOfTwo returns the size that pad fills a write of n bytes to.
func powerOfTwo(n int) int {
	size := bucket
	for size < n {
		size *= 2
	}
	return size
}

// TestSizesLeft takes what is left of sizes where writes have them, where they are padded, and where all are the same.
func TestSizesLeft(t *testing.T) {
	sizes := []int{150, 150, 225, 300, 1500, 1600, 4000, 500}
	carry := map[string]func(n int) int{
		modeOff:   func(n int) int { return n + 21 },
		modePad:   func(n int) int { return powerOfTwo(n + 21) },
		modeCover: func(int) int { return 1024 },
	}
	left := map[string]float64{modeOff: 2.75, modePad: entropy(map[int]int{1024: 5, 2048: 2, 4096: 1}, 8), modeCover: 0}
	alone := map[string]float64{modeOff: 1, modePad: 1. / 8, modeCover: 0}
	for mode, write := range carry {
		s := &Session{Length: time.Minute}
		for i, n := range sizes {
			at := time.Duration(i) * 10 * time.Second
			s.Actions = append(s.Actions, Action{At: at, Kind: "tx", Size: n, Until: at + 3*time.Second})
			s.Segments = append(s.Segments, Segment{At: at + 1, Up: true, Bytes: min(58, write(n))}, Segment{At: at + time.Second, Bytes: 70000},
				Segment{At: at + 2*time.Second, Up: true, Bytes: write(n) - 100}, Segment{At: at + 2*time.Second + time.Microsecond, Up: true, Bytes: 100},
				Segment{At: at + 4*time.Second, Up: true, Bytes: 9999})
		}
		list := []int{100, 200, 240, 1550}
		got := sizesLeft([]*cell{{mode: mode, client: "inv", sessions: []*Session{s}}}, list)[0]
		if got.Transactions != 8 || got.Bits != 2.75 || math.Abs(got.Left-left[mode]) > 1e-9 || math.Abs(got.Alone-alone[mode]) > 1e-9 {
			t.Errorf("%s: %+v; must be %.2f bits left, %.2f alone", mode, got, left[mode], alone[mode])
		}
		if want := map[string]float64{modeOff: 2, modePad: entropy(map[int]int{1024: 3, 2048: 1}, 4), modeCover: 0}[mode]; got.ListBits != 2 || math.Abs(got.ListLeft-want) > 1e-9 {
			t.Errorf("%s: %.2f of %.2f bits are left on the list; must be %.2f of 2", mode, got.ListLeft, got.ListBits, want)
		}
	}
}

// TestPadOnList computes what pad leaves of the sizes of the list, all writes being as they are specified.
func TestPadOnList(t *testing.T) {
	var all []carried
	for _, n := range transactionSizes {
		all = append(all, carried{n, powerOfTwo(n + 21)})
	}
	if got := leftOf(all); got.Left > 0.3 || got.Left < 0.1 || got.Bits < 5 {
		t.Errorf("%.2f of %.2f bits are left; must be 0.3 at most", got.Left, got.Bits)
	}
}

// TestNearest gives a size the write of most of the three nearest: what was sent besides one of them does not count.
func TestNearest(t *testing.T) {
	sorted := []carried{{150, 1024}, {160, 2048}, {170, 1024}, {1500, 2048}, {1600, 2048}}
	for size, want := range map[int]int{100: 1024, 160: 1024, 165: 1024, 1550: 2048, 9000: 2048} {
		if got := nearest(sorted, size); got != want {
			t.Errorf("%d: %d; must be %d", size, got, want)
		}
	}
	for n, want := range map[int]int{1: 1024, 2: 1024} { // fewer than three
		if got := nearest(sorted[:n], 160); got != want {
			t.Errorf("of %d: %d; must be %d", n, got, want)
		}
	}
}
