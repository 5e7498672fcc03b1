package random

import (
	"math"
	"testing"
	"testing/cryptotest"
	"time"

	"bip324proxy/internal/testkit"
)

// All numbers are in range and equally frequent, also where a word's 2⁶⁴ values are not shared out evenly.
func TestN(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	const draws = 60_000
	for _, n := range []int{1, 2, 3, 7, 30} {
		counts := make([]int, n)
		for range draws {
			counts[N(n)]++
		}
		for i, got := range counts {
			if want := float64(draws) / float64(n); math.Abs(float64(got)-want) > 6*math.Sqrt(want) {
				t.Errorf("%d of %d: drawn %d times, want about %.0f", i, n, got, want)
			}
		}
	}
	const huge = math.MaxInt64/4*3 + 1 // a quarter of the words are drawn again
	var high int
	for range draws {
		switch i := N(time.Duration(huge)); {
		case i < 0 || i >= huge:
			t.Fatalf("drew %d, over %d", i, time.Duration(huge))
		case i >= huge/2:
			high++
		}
	}
	if math.Abs(float64(high)-draws/2) > 6*math.Sqrt(draws/4) {
		t.Errorf("%d of %d draws are in the upper half", high, draws)
	}
}

func TestNOfNothing(t *testing.T) {
	for _, n := range []int{0, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("N(%d) did not panic", n)
				}
			}()
			N(n)
		}()
	}
}

func TestNAllocates(t *testing.T) {
	if testkit.Racing() {
		t.Skip("the race detector allocates")
	}
	if n := testing.AllocsPerRun(1000, func() { N(2 * time.Second) }); n != 0 {
		t.Errorf("%v allocations per number", n)
	}
}

func BenchmarkN(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		N(2 * time.Second)
	}
}
