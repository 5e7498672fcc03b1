package transport

import (
	"math/bits"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/random"
)

// tunnelPair returns both ends of a tunnel whose cells have begun. Packets of a are counted.
func tunnelPair(t *testing.T, near, far Shape) (a, b *Conn, up, down *writesRecorder, received chan int) {
	t.Helper()
	near.Mode, far.Mode = ShapeTunnel, ShapeTunnel
	a, b, up, down = shapedPair(t, near, far)
	received = make(chan int, 10_000)
	readAll(b)
	go func() {
		for {
			p, err := a.ReadPacket()
			if err != nil {
				return
			}
			received <- len(p)
		}
	}()
	time.Sleep(settled)
	return a, b, up, down, received
}

// isBurst reports whether n is a power of two from 16 KiB.
func isBurst(n int) bool { return n >= smallestBurst && bits.OnesCount(uint(n)) == 1 }

// tunnelSizes checks that all writes since cells have begun are cells or bursts, and returns
// the bursts.
func (r *writesRecorder) tunnelSizes(t *testing.T) (bursts []written) {
	t.Helper()
	for _, w := range r.since(startsAfter) {
		if w.size == defaultCell {
			continue
		}
		if !isBurst(w.size) {
			t.Errorf("a write of %d bytes at %v", w.size, w.at)
		}
		bursts = append(bursts, w)
	}
	return bursts
}

// gaps checks that the time between two writes is that of cells.
func (r *writesRecorder) gaps(t *testing.T) {
	t.Helper()
	cells := r.since(startsAfter)
	for i := 1; i < len(cells); i++ {
		if gap := cells[i].at - cells[i-1].at; gap < tunnelEvery/2 || gap > tunnelEvery*3/2 {
			t.Errorf("%v between writes of %d and %d bytes", gap, cells[i-1].size, cells[i].size)
		}
	}
}

// A large backlog leaves at once, in the place of a cell; a small one in cells.
func TestTunnelBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, up, down, received := tunnelPair(t, Shape{Fakes: noFakes}, Shape{Fakes: noFakes})
		defer a.Close()
		defer b.Close()
		var want []int
		for _, n := range []int{100, 8000, 8200, 16_384 - 20, 16_384, 16_384 - 25, 40_000, 60_000} {
			began := time.Now()
			if err := b.WritePacket(make([]byte, n)); err != nil {
				t.Error(err)
			}
			if got := <-received; got != n {
				t.Errorf("%d bytes have arrived as %d", n, got)
			}
			if packetSize(n) <= defaultBurst {
				continue
			}
			if d := time.Since(began); d > tunnelEvery*3/2 {
				t.Errorf("%d bytes took %v", n, d)
			}
			want = append(want, burstSize(packetSize(n)))
			time.Sleep(5 * time.Second)
		}
		got := down.tunnelSizes(t)
		if len(got) != len(want) {
			t.Fatalf("bursts %v, want %v", got, want)
		}
		for i, w := range got {
			if w.size != want[i] {
				t.Errorf("a burst of %d bytes, want %d", w.size, want[i])
			}
		}
		down.gaps(t)
		if bursts := up.tunnelSizes(t); len(bursts) > 0 {
			t.Errorf("bursts the other way: %v", bursts)
		}
		if n := b.Shaping().Overflows; n > 0 {
			t.Errorf("%d overflows", n)
		}
	})
}

// False bursts come in the place of cells, as often as the own shape says, whether or not
// something is sent.
func TestTunnelFalseBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := Shape{Fakes: 20 * time.Second, Budget: maxBudget}
		a, b, up, down, received := tunnelPair(t, fakes, fakes)
		defer a.Close()
		defer b.Close()
		for range 2000 {
			time.Sleep(5 * time.Second)
			if err := b.WritePacket(make([]byte, 300)); err != nil {
				t.Error(err)
			}
			<-received
		}
		for _, r := range []*writesRecorder{up, down} {
			r.gaps(t)
			bursts := r.tunnelSizes(t)
			writes := len(r.since(startsAfter))
			want := writes / 20
			if n := len(bursts); n < want*2/3 || n > want*4/3 { // 500 ± 7 sigma
				t.Errorf("%d false bursts in %d writes, want about %d", n, writes, want)
			}
			smallest := 0
			for _, w := range bursts {
				if w.size > largestFake {
					t.Errorf("a false burst of %d bytes", w.size)
				}
				if w.size == smallestBurst {
					smallest++
				}
			}
			if n := len(bursts); smallest < n/4 || smallest > n*3/4 {
				t.Errorf("%d of %d have the smallest size, want half of them", smallest, n)
			}
		}
	})
}

// A download does not wait for cells: a block, and a thousand blocks' filters.
func TestTunnelDownloads(t *testing.T) {
	for name, sizes := range map[string][]int{
		"block":   {1_500_000},
		"blocks":  repeated(1_500_000, 20),
		"filters": repeated(20_000, 2000),
		"small":   repeated(300, 2000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, _, down, received := tunnelPair(t, Shape{Fakes: noFakes}, Shape{Fakes: noFakes})
				defer a.Close()
				defer b.Close()
				began, real := time.Now(), 0
				for _, n := range sizes {
					real += packetSize(n)
					if err := b.WritePacket(make([]byte, n)); err != nil {
						t.Fatal(err)
					}
				}
				for _, want := range sizes {
					if got := <-received; got != want {
						t.Fatalf("received %d, want %d", got, want)
					}
				}
				if d := time.Since(began); d > tunnelEvery*3/2*(defaultBurst/defaultCell+1) {
					t.Errorf("it took %v", d)
				}
				sent := 0
				for _, w := range down.tunnelSizes(t) {
					sent += w.size
				}
				if sent > 2*real+smallestBurst {
					t.Errorf("bursts of %d bytes for %d", sent, real)
				}
				if n := b.Shaping().Overflows; n != 1 {
					t.Errorf("%d overflows", n)
				}
				time.Sleep(settled)
				if err := b.WritePacket(make([]byte, 2000)); err != nil {
					t.Error(err)
				}
				<-received
				last := down.since(time.Since(down.began) - time.Second)
				for _, w := range last {
					if w.size != defaultCell {
						t.Errorf("after the download: a write of %d bytes", w.size)
					}
				}
			})
		})
	}
}

func repeated(size, n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// Downloads do not use up the budget: only cells and false bursts do.
func TestTunnelBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var near, far changes
		shape := Shape{Fakes: noFakes, Every: maxEvery, Budget: minBudget}
		nearShape, farShape := shape, shape
		nearShape.Changed, farShape.Changed = near.add, far.add
		a, b, _, down, received := tunnelPair(t, nearShape, farShape)
		defer a.Close()
		defer b.Close()
		for range 500 {
			if err := b.WritePacket(make([]byte, 20_000)); err != nil {
				t.Fatal(err)
			}
		}
		for range 500 {
			<-received
		}
		if filler := b.Shaping().SentFiller; filler < 2*minBudget {
			t.Fatalf("only %d bytes of filler", filler)
		}
		time.Sleep(16 * time.Hour) // over 800 cells
		far.check(t, ShapeChange{ShapeTunnel, ShapeAgreed})
		down.tunnelSizes(t)
		time.Sleep(3 * time.Hour)
		agreed, used := ShapeChange{ShapeTunnel, ShapeAgreed}, ShapeChange{ShapePad, ShapeBudgetUsed}
		near.check(t, agreed, used)
		far.check(t, agreed, used)
		time.Sleep(6 * time.Hour)
		renewed := ShapeChange{ShapeTunnel, ShapeBudgetRenewed}
		near.check(t, agreed, used, renewed)
		far.check(t, agreed, used, renewed)
	})
}

// A small message waits for the next cell, and no longer.
func TestTunnelDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, down, received := tunnelPair(t, Shape{}, Shape{Budget: maxBudget})
		defer a.Close()
		defer b.Close()
		var total time.Duration
		const messages = 500
		for range messages {
			time.Sleep(tunnelEvery + random.N(20*time.Second))
			began := time.Now()
			if err := b.WritePacket(make([]byte, random.N(defaultCell-2*minFiller))); err != nil {
				t.Error(err)
			}
			<-received
			d := time.Since(began)
			if total += d; d > tunnelEvery*3/2 {
				t.Errorf("a message took %v", d)
			}
		}
		if mean := total / messages; mean < tunnelEvery*2/5 || mean > tunnelEvery*7/10 { // of 13/24
			t.Errorf("the mean delay is %v", mean)
		}
		down.gaps(t)
	})
}

// The filler of the largest burst needs no memory at the receiver: it fits the limit for peers
// that have not sent a VERSION.
func TestTunnelFillerIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shape := Shape{Mode: ShapeTunnel, Every: minEvery, Fakes: minFakes, Budget: maxBudget}
		a, b, up, down := shapedPair(t, shape, shape)
		defer a.Close()
		defer b.Close()
		ended := make(chan error, 2)
		for _, c := range []*Conn{a, b} {
			c.LimitContents(15 << 10)
			go func() {
				for {
					if _, err := c.ReadPacket(); err != nil {
						ended <- err
						return
					}
				}
			}()
		}
		largest := func(r *writesRecorder) (n int) {
			for _, w := range r.since(startsAfter) {
				n = max(n, w.size)
			}
			return n
		}
		for largest(up) < largestFake || largest(down) < largestFake {
			time.Sleep(time.Minute)
			select {
			case err := <-ended:
				t.Fatal(err)
			default:
			}
		}
	})
}

// Messages that wait leave with a false burst.
func TestTunnelFalseBurstTakesBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, down, received := tunnelPair(t, Shape{Fakes: minFakes}, Shape{Fakes: minFakes, Budget: maxBudget})
		defer a.Close()
		defer b.Close()
		for _, n := range []int{1, 3000, 8000} {
			began := time.Now()
			if err := b.WritePacket(make([]byte, n)); err != nil {
				t.Error(err)
			}
			<-received
			if d := time.Since(began); d > tunnelEvery*3/2 {
				t.Errorf("%d bytes took %v", n, d)
			}
		}
		for _, w := range down.tunnelSizes(t) {
			if w.size > largestFake {
				t.Errorf("a burst of %d bytes", w.size)
			}
		}
		down.gaps(t)
	})
}
