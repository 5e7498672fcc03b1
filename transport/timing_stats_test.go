package transport

import (
	mrand "math/rand/v2"
	"testing"
)

// noisy returns n timings of 50 µs that the machine disturbs as it likes, those with a random secret
// slower by leak nanoseconds, measured by a clock with steps of 10 ns.
func noisy(n int, leak float64) (all timings) {
	rng := mrand.New(mrand.NewPCG(1, 2))
	for range n {
		class := rng.Uint64() & 1
		took := 50_000 + 300*rng.NormFloat64() + float64(class)*leak
		if rng.IntN(10) == 0 {
			took += 20_000 * rng.ExpFloat64() // an interrupt
		}
		if rng.IntN(1000) == 0 {
			took += 5_000_000 * rng.ExpFloat64() // another program
		}
		all[class] = append(all[class], float64(int(took/10)*10))
	}
	return all.prepared(rng)
}

// The statistics of TestTiming find a leak that is far smaller than the disturbances, none where
// there is none, and tell how small a leak they find.
func TestTimingStatistics(t *testing.T) {
	const n = 50_000
	silent := noisy(n, 0)
	if value := silent.maxT(); value > tNothing {
		t.Errorf("|t| = %.2f without a leak", value)
	}
	smallest := silent.smallestLeak()
	if smallest < 5 || smallest > 30 {
		t.Errorf("a leak of %.1f ns would be found; expected about 15", smallest)
	}
	if value := noisy(n, 2*smallest).maxT(); value < tNothing {
		t.Errorf("|t| = %.2f with a leak of %.1f ns, twice what would be found", value, 2*smallest)
	}
	if value := noisy(n, smallest/4).maxT(); value > tLeak {
		t.Errorf("|t| = %.2f with a leak of %.1f ns, a fourth of what would be found", value, smallest/4)
	}
	if value := noisy(n, 100).maxT(); value < tLeak {
		t.Errorf("|t| = %.2f with a leak of 100 ns", value)
	}
	t.Logf("a leak of %.1f ns would be found", smallest)
}
