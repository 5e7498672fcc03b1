package transport

import (
	"testing"
	"testing/synctest"
	"time"
)

// Packets that follow do not put off the first cell.
func TestCellsBeginWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _, _ := coverPair(t, Shape{Mode: ShapeCover})
		if err := a.WritePacket(make([]byte, startsAt)); err != nil {
			t.Error(err)
		}
		for began := time.Now(); time.Since(began) <= coverEvery*3/2; time.Sleep(coverEvery / 20) {
			if err := a.WritePacket(nil); err != nil {
				t.Error(err)
			}
		}
		if mode := a.Shaping().Mode; mode != ShapeCover {
			t.Errorf("the mode is %v", mode)
		}
	})
}

// After Wipe no cell leaves, also if a tick has waited for it.
func TestCellsWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up, _ := cellsBegun(t)
		n := up.number()
		a.Wipe()
		a.out.shaper.cells.next = time.Now()
		a.out.shaper.tick()
		time.Sleep(time.Minute)
		if more := up.number() - n; more > 0 {
			t.Errorf("%d writes", more)
		}
	})
}

// The answer of the other end, or that it does not come, does not renew a budget that is used up.
func TestTunnelAnswerAfterBudget(t *testing.T) {
	for _, far := range []Shape{{}, {Mode: ShapeTunnel, Every: maxEvery, Fakes: noFakes}} {
		synctest.Test(t, func(t *testing.T) {
			var near changes
			a, b, _, _ := shapedPair(t, Shape{Mode: ShapeTunnel, Cell: maxCell, Every: minEvery, Budget: minBudget, Fakes: noFakes, Changed: near.add}, far)
			defer a.Close()
			defer b.Close()
			go func() {
				for {
					if _, err := b.ReadPacket(); err != nil {
						return
					}
				}
			}()
			used := ShapeChange{ShapePad, ShapeBudgetUsed}
			time.Sleep(grantTimeout - time.Second)
			near.check(t, used)
			later := []ShapeChange{used, {ShapeTunnel, ShapeBudgetRenewed}}
			if far.Mode == ShapeTunnel {
				go a.ReadPacket() // the answer, only now
			} else {
				later = append(later, ShapeChange{ShapeCover, ShapeNotAgreed})
			}
			time.Sleep(settled)
			near.check(t, used)
			if mode := a.Shaping().Mode; mode != ShapePad {
				t.Errorf("the mode is %v", mode)
			}
			time.Sleep(day - settled - grantTimeout + 2*time.Second)
			near.check(t, later...)
		})
	}
}
