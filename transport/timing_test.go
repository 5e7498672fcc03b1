package transport

import (
	"crypto/rand"
	"math"
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

// TestTiming tests whether time depends on secrets, as dudect does (Reparaz,
// Balasch, Verbauwhede, "Dude, is my code constant time?", 2017): an operation
// is timed with a fixed and with a random secret, in random order, and Welch's
// t-test compares the two means. Under 4.5 nothing is found, over 10
// there is a leak beyond doubt. The controls are known to leak.
//
// It runs only if TIMING is the number of samples to take, since it needs a
// quiet machine:
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
	fixed := newPrivateKey().scalar
	ours := func(fixed [32]byte) func(bool) {
		return func(random bool) { k.scalar = scalarFor(random, &fixed) }
	}

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
		leak bool              // a control: must be found
		set  func(random bool) // prepares a sample; not timed
		do   func()
	}{
		{"key creation up to the public x", false, ours(fixed), func() { k.publicX() }},
		{"key creation up to the public x, scalar 1", false, ours([32]byte{31: 1}), func() { k.publicX() }},
		{"key creation", false, ours(fixed), func() { x := k.publicX(); k.encode(&x) }},
		{"ECDH", false, ours(fixed), func() { k.ecdh(&secret, &theirs, true) }},
		{"ECDH, scalar 1", false, ours([32]byte{31: 1}), func() { k.ecdh(&secret, &theirs, true) }},
		{"MAC comparison", false, forge, func() { open() }},
		{"control: btcec.ScalarMultNonConst", true,
			func(random bool) { b := scalarFor(random, &fixed); ref.SetBytes(&b) },
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
			value := maxT(timed)
			t.Logf("|t| = %.2f, %d samples, median %v", value, samples, median(timed))
			if test.leak && value < 10 {
				t.Errorf("the control leaks, but |t| is only %.2f", value)
			}
			if !test.leak && value > 4.5 {
				t.Errorf("|t| is %.2f: time depends on the secret, or the machine was not quiet", value)
			}
		})
	}
}

// scalarFor returns a random scalar or the fixed one. Both are drawn and copied in the same way.
func scalarFor(random bool, fixed *[32]byte) (k [32]byte) {
	rand.Read(k[:])
	if !random {
		k = *fixed
	}
	return k
}

// forgeries returns a function that opens a packet with a wrong tag; one that forges the tag, wrong
// from its first byte or only in its last; and both tags. Both are precomputed and written by the
// same instructions: a single byte written here would slow down the next read of its word.
func forgeries(t *testing.T) (open func(), forge func(late bool), tags func() (right, wrong []byte)) {
	t.Helper()
	_, receiver, sender, _ := ciphers(t)
	good := sender.seal(nil, make([]byte, 32), nil, false)[lengthSize:]
	tag := len(good) - Tailroom
	wrong := [2][]byte{slices.Clone(good), slices.Clone(good)}
	wrong[0][tag] ^= 1
	wrong[1][len(good)-1] ^= 1
	bad := make([]byte, len(good))
	forge = func(late bool) {
		class := 0
		if late {
			class = 1
		}
		copy(bad, wrong[class])
	}
	open = func() { receiver.open(bad, nil) }
	return open, forge, func() ([]byte, []byte) { return good[tag:], bad[tag:] }
}

// sample is one measurement, in nanoseconds.
type sample struct {
	random bool
	took   float64
}

func measure(n int, set func(random bool), do func()) []sample {
	var seed [32]byte
	rand.Read(seed[:])
	rng := mrand.New(mrand.NewChaCha8(seed))
	all := make([]sample, n)
	for range n / 20 { // warm up
		set(rng.Uint64()&1 == 0)
		do()
	}
	for i := range all {
		all[i].random = rng.Uint64()&1 == 0
		set(all[i].random)
		start := time.Now()
		do()
		all[i].took = float64(time.Since(start))
		if i%10_000 == 0 {
			runtime.GC()
		}
	}
	return all
}

func median(all []sample) time.Duration {
	return time.Duration(percentile(all, 0.5))
}

func percentile(all []sample, p float64) float64 {
	took := make([]float64, len(all))
	for i, s := range all {
		took[i] = s.took
	}
	slices.Sort(took)
	return took[int(p*float64(len(took)-1))]
}

// maxT returns the largest |t| over all samples and over those below some percentiles, since the
// slowest ones depend on the machine.
func maxT(all []sample) (largest float64) {
	for _, p := range []float64{0.5, 0.75, 0.9, 0.95, 0.99, 1} {
		limit := percentile(all, p)
		var fixed, random welford
		for _, s := range all {
			if s.took > limit {
				continue
			}
			if s.random {
				random.add(s.took)
			} else {
				fixed.add(s.took)
			}
		}
		if fixed.n > 1 && random.n > 1 { // otherwise the two do not even overlap
			largest = max(largest, math.Abs(welch(&fixed, &random)))
		}
	}
	return largest
}

// welford computes a running mean and sum of squared deviations.
type welford struct{ n, mean, squares float64 }

func (w *welford) add(x float64) {
	w.n++
	d := x - w.mean
	w.mean += d / w.n
	w.squares += d * (x - w.mean)
}

func welch(a, b *welford) float64 {
	return (a.mean - b.mean) / math.Sqrt(a.squares/(a.n-1)/a.n+b.squares/(b.n-1)/b.n)
}
