package transport

import (
	"time"

	"bip324proxy/internal/random"
)

const (
	// smallestBurst is the size of the smallest burst of a tunnel, and largestFake that of the
	// largest false one, in bytes.
	smallestBurst, largestFake = 16 << 10, 2 << 20

	// meanFake is the mean size of a false burst, in bytes: the sizes double from 16 KiB to 2 MiB,
	// each half as likely as the one before, but the last as likely as that.
	meanFake = 7*smallestBurst/2 + largestFake/128
)

// bursts reports whether a large backlog leaves at once.
func (s *shaper) bursts() bool { return s.mode == ShapeTunnel && s.tunnel.agreed }

// fakeBurst returns the size of a false burst, if one is due, in bytes.
func (s *shaper) fakeBurst() int {
	if !s.bursts() || s.shape.Fakes <= 0 || random.N(s.shape.Fakes) >= s.shape.Every {
		return 0
	}
	size := smallestBurst
	for size < largestFake && random.N(2) == 0 {
		size *= 2
	}
	return size
}

// burstSize returns the size that a burst of n bytes is filled up to.
func burstSize(n int) int {
	size := smallestBurst
	for size < n {
		size *= 2
	}
	if gap := size - n; 0 < gap && gap < minFiller {
		size *= 2
	}
	return size
}

// overflowSize returns the size that n bytes are filled up to that leave without cells.
func (s *shaper) overflowSize(n int) int {
	if s.bursts() {
		return burstSize(n)
	}
	return s.bucket(n)
}

// awaitTurn waits for the next tick if a packet of n bytes makes the backlog overflow. The packet
// then leaves in place of a cell: at another time an observer could tell it from a false burst.
// Packets that follow at once do not wait. The wait ends after the longest time between two
// ticks of the own shape, whatever the other end has asked for. It releases the mutex meanwhile.
func (s *shaper) awaitTurn(n int) error {
	c := &s.cells
	until := time.Now().Add(s.longest)
	for s.inCells() && s.bursts() && !c.direct && !c.takes(n) && !c.isHurried() && time.Now().Before(until) {
		c.waiting++
		ticked, err := s.awaitTick(until)
		c.waiting--
		if ticked || err != nil {
			return err
		}
	}
	return nil
}
