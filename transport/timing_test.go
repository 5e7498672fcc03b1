package transport

import (
	"crypto/rand"
	"crypto/subtle"
	"math"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
)

// The values of |t| under which nothing is found, and over which there is a leak beyond doubt.
const (
	tNothing = 4.5
	tLeak    = 10
)

// TestTiming tests whether time depends on secrets, as dudect does (Reparaz,
// Balasch, Verbauwhede, "Dude, is my code constant time?", 2017): an operation
// is timed with a fixed and with a random secret, in random order, and Welch's
// t-test compares the two means, see maxT. The controls are known to leak. Beside each |t|
// it reports the smallest leak that would have been found, see smallestLeak, and fails if
// that is more than a fiftieth of the operation: silence would say little.
//
// It runs only if TIMING is the number of samples to take, since it takes minutes:
//
//	TIMING=100000 go test -v -run TestTiming ./transport
func TestTiming(t *testing.T) {
	samples, _ := strconv.Atoi(os.Getenv("TIMING"))
	if samples == 0 {
		t.Skip("TIMING is not set to a number of samples")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	theirs := newPrivateKey().public
	var k privateKey
	var secret [32]byte
	ours := func(fixed [32]byte) func(int) {
		return func(class int) { k.scalar = scalarFor(class, &fixed) }
	}
	publicX := func() { k.publicX() }
	ecdh := func() { k.ecdh(&secret, &theirs, true) }
	fixed := newPrivateKey().scalar
	one := [32]byte{31: 1}
	few := fewDigits()

	// The other side's point and our scalar, for btcec.
	var ref btcec.ModNScalar
	var point, product btcec.JacobianPoint
	point.X = *refField(decodedX(&theirs))
	point.Y.SquareVal(&point.X).Mul(&point.X).AddInt(7).Normalize()
	point.Y.SquareRootVal(new(btcec.FieldVal).Set(&point.Y))
	point.Z.SetInt(1)

	open, forge, tags := forgeries(t)

	for _, test := range []struct {
		name string
		leak bool            // a control: must be found
		set  func(class int) // prepares a sample; not timed
		do   func()
	}{
		{"key creation up to the public x", false, ours(fixed), publicX},
		{"key creation up to the public x, scalar 1", false, ours(one), publicX},
		{"key creation up to the public x, few digits", false, ours(few), publicX},
		{"key creation", false, ours(fixed), func() { x := k.publicX(); k.encode(&x) }},
		{"ECDH", false, ours(fixed), ecdh},
		{"ECDH, scalar 1", false, ours(one), ecdh},
		{"ECDH, few digits", false, ours(few), ecdh},
		{"MAC comparison", false, forge, func() { open() }},
		{"control: btcec.ScalarMultNonConst, few digits", true,
			func(class int) { b := scalarFor(class, &few); ref.SetBytes(&b) },
			func() { btcec.ScalarMultNonConst(&ref, &point, &product) }},
		{"control: MAC comparison, then byte by byte", true, forge, func() {
			open()
			a, b := tags()
			for i := range a {
				if a[i] != b[i] {
					break
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			timed := measure(samples, test.set, test.do)
			value, middle := timed.maxT(), timed.median()
			t.Logf("|t| = %.2f, %d samples, median %v", value, samples, time.Duration(middle))
			if test.leak {
				if value < tLeak {
					t.Errorf("the control leaks, but |t| is only %.2f", value)
				}
				return
			}
			if value > tNothing {
				t.Errorf("|t| is %.2f: time depends on the secret, or the machine was not quiet", value)
			}
			smallest := timed.smallestLeak()
			t.Logf("a leak of %.2f ns, %.3f %%, would have been found", smallest, 100*smallest/middle)
			if smallest > middle/50 {
				t.Errorf("a leak of less than %.1f %% would not be found: take more samples", 100*smallest/middle)
			}
		})
	}
}

// fewDigits returns 2¹⁰⁰(1+λ): multiplying by it, algorithms with the curve's endomorphism, as
// btcec's, find two digits, where a random scalar has dozens.
func fewDigits() [32]byte {
	lambda, _ := new(big.Int).SetString("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72", 16)
	k := lambda.Add(lambda, big.NewInt(1))
	k.Lsh(k, 100).Mod(k, btcec.S256().N)
	return [32]byte(k.FillBytes(make([]byte, 32)))
}

// scalarFor returns the fixed scalar for class 0, a random one for class 1. A mask selects: a branch
// here would move the times of the classes apart by nanoseconds.
func scalarFor(class int, fixed *[32]byte) (k [32]byte) {
	rand.Read(k[:])
	subtle.ConstantTimeCopy(1-class, k[:], fixed[:])
	return k
}

// forgeries returns a function that opens a packet with a wrong tag; one that forges the tag, wrong
// from its first byte or only in its last; and both tags. Both are precomputed and written by the
// same instructions: a single byte written here would slow down the next read of its word.
func forgeries(t *testing.T) (open func(), forge func(class int), tags func() (right, wrong []byte)) {
	t.Helper()
	_, receiver, sender, _ := ciphers(t)
	good := sender.seal(nil, make([]byte, 32), nil, false)[lengthSize:]
	tag := len(good) - Tailroom
	wrong := [2][]byte{slices.Clone(good), slices.Clone(good)}
	wrong[0][tag] ^= 1
	wrong[1][len(good)-1] ^= 1
	bad := make([]byte, len(good))
	forge = func(class int) { copy(bad, wrong[class]) }
	open = func() { receiver.open(bad, nil) }
	return open, forge, func() ([]byte, []byte) { return good[tag:], bad[tag:] }
}

// timings are measurements with the fixed secret, [0], and with random ones, [1], in
// nanoseconds, the shortest first.
type timings [2][]float64

func measure(n int, set func(class int), do func()) (all timings) {
	var seed [32]byte
	rand.Read(seed[:])
	rng := mrand.New(mrand.NewChaCha8(seed))
	for class := range all {
		all[class] = make([]float64, 0, n)
	}
	for range n / 20 { // warm up
		set(int(rng.Uint64() & 1))
		do()
	}
	for i := range n {
		class := int(rng.Uint64() & 1)
		set(class)
		start := time.Now()
		do()
		took := time.Since(start)
		all[class] = append(all[class], float64(took))
		if i%10_000 == 0 {
			runtime.GC()
		}
	}
	return all.prepared(rng)
}

// prepared adds noise of one step of the clock, which leaves no equal values to be cropped
// apart, and sorts.
func (all timings) prepared(rng *mrand.Rand) timings {
	values := slices.Sorted(slices.Values(slices.Concat(all[0], all[1])))
	step := math.Inf(1)
	for i, v := range values[1:] {
		if v > values[i] {
			step = min(step, v-values[i])
		}
	}
	for _, took := range all {
		for i := range took {
			took[i] += rng.NormFloat64() * step
		}
		slices.Sort(took)
	}
	return all
}

func (all timings) median() float64 { return (all[0][len(all[0])/2] + all[1][len(all[1])/2]) / 2 }

// maxT returns the largest |t| over all samples and over those that are below a percentile of
// all, since the slowest ones depend on the machine: like dudect's, the percentiles are denser
// towards the end, 1-2^(-i/4) up to 99.9 %.
func (all timings) maxT() float64 { return all.shifted(0, 0) }

// shifted is maxT after each sample with the fixed secret took fixed longer, and each with a
// random one took random longer.
func (all timings) shifted(fixed, random float64) (largest float64) {
	var sums [2]welford
	add := [2]float64{fixed, random}
	total := len(all[0]) + len(all[1])
	crop, next := 0, 0
	for n, at := 0, [2]int{}; n < total; n++ {
		if n == next {
			largest = max(largest, welch(&sums[0], &sums[1]))
			crop++
			next = int((1 - math.Exp2(-float64(min(crop, 40))/4)) * float64(total))
		}
		class := 0
		if at[0] == len(all[0]) || at[1] < len(all[1]) && all[1][at[1]]+random < all[0][at[0]]+fixed {
			class = 1
		}
		sums[class].add(all[class][at[class]] + add[class])
		at[class]++
	}
	return max(largest, welch(&sums[0], &sums[1]))
}

// smallestLeak returns by how many nanoseconds one class must be slower, whichever, to be found:
// for |t| over tNothing.
func (all timings) smallestLeak() float64 {
	low, high := 0.0, all.median()
	for high-low > high/100 {
		if leak := (low + high) / 2; min(all.shifted(leak, 0), all.shifted(0, leak)) > tNothing {
			high = leak
		} else {
			low = leak
		}
	}
	return high
}

// welford computes a running mean and sum of squared deviations.
type welford struct{ n, mean, squares float64 }

func (w *welford) add(x float64) {
	w.n++
	d := x - w.mean
	w.mean += d / w.n
	w.squares += d * (x - w.mean)
}

// welch returns |t| of Welch's t-test; 0 if one class has next to no samples.
func welch(a, b *welford) float64 {
	if a.n < 2 || b.n < 2 {
		return 0
	}
	return math.Abs(a.mean-b.mean) / math.Sqrt(a.squares/(a.n-1)/a.n+b.squares/(b.n-1)/b.n)
}
