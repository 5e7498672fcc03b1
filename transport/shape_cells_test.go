package transport

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"bip324proxy/internal/stream"
)

// coverPair returns both ends of a connection whose initiator has a shape, the writes of that, and
// what the responder receives.
func coverPair(t *testing.T, shape Shape) (a, b *Conn, up *writesRecorder, received chan []byte) {
	t.Helper()
	a, b, up, _ = shapedPair(t, shape, Shape{})
	t.Cleanup(func() { a.Close(); b.Close() })
	received = make(chan []byte, 100_000)
	go func() {
		defer close(received)
		for {
			p, err := b.ReadPacket()
			if err != nil {
				return
			}
			received <- bytes.Clone(p)
		}
	}()
	<-received // Config.First
	return a, b, up, received
}

// drawFrom makes c draw the times of its cells from seed.
func drawFrom(t *testing.T, c *Conn, seed uint64) {
	inTurn := func(f func()) { // no tick is in progress
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		f()
	}
	inTurn(func() { cryptotest.SetGlobalRandom(t, seed) })
	t.Cleanup(func() { c.Close(); inTurn(func() {}) })
}

// expect checks what the other end receives next.
func expect(t *testing.T, received chan []byte, want [][]byte) {
	t.Helper()
	for i, want := range want {
		if got := <-received; !bytes.Equal(got, want) {
			t.Fatalf("message %d of %d bytes has arrived as %d bytes", i, len(want), len(got))
		}
	}
}

// Times and sizes of cells are the same whatever is sent, and that arrives unaltered, through many rekeyings.
func TestCellsDoNotTell(t *testing.T) {
	const last = 40 * time.Minute
	for _, shape := range []Shape{
		{Mode: ShapeCover}, {Mode: ShapeCover, Cell: minCell, Every: minEvery}, {Mode: ShapeCover, Cell: maxCell, Every: 7 * time.Second, Budget: maxBudget},
		{Mode: ShapeCover, Cell: 1337}, {Mode: ShapeTunnel}, // which the other end does not know
	} {
		var runs [][]written
		for _, talks := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				a, _, up, received := coverPair(t, shape)
				drawFrom(t, a, 7)
				var sent [][]byte
				r := rand.New(rand.NewPCG(1, 2))
				for talks && time.Since(up.began) < last-5*time.Minute {
					time.Sleep(time.Duration(r.Int64N(int64(20 * time.Second))))
					for range r.IntN(4) {
						sent = append(sent, testBytes(r.IntN(1000), r.Uint64()))
						var err error
						if p := sent[len(sent)-1]; r.IntN(2) == 0 {
							err = a.WritePacket(p)
						} else {
							err = a.Queue(p[:len(p)/2], p[len(p)/2:])
						}
						if err != nil {
							t.Fatal(err)
						}
					}
					if err := a.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(last - time.Since(up.began))
				if talks {
					if len(sent) < 100 {
						t.Errorf("only %d messages were sent", len(sent))
					}
					expect(t, received, sent)
				}
				if s := a.Shaping(); s.Overflows != 0 || s.SentFiller == 0 || (s.SentReal > 0) != talks {
					t.Errorf("%v: %+v", shape, s)
				}
				runs = append(runs, up.since(startsAfter))
			})
		}
		cells, d := runs[0], shape.WithDefaults()
		if want := int((last - startsAfter) / d.Every); len(cells) < want*9/10 || len(cells) > want*11/10 {
			t.Errorf("%v: %d cells, want about %d", shape, len(cells), want)
		}
		if cells[0].at != startsAfter {
			t.Errorf("%v: the first cell leaves at %v", shape, cells[0].at)
		}
		for i, c := range cells {
			if c.size != d.Cell {
				t.Errorf("%v: a cell of %d bytes", shape, c.size)
			}
			if i > 0 && (c.at-cells[i-1].at < d.Every/2 || c.at-cells[i-1].at >= d.Every*3/2) {
				t.Errorf("%v: %v between two cells", shape, c.at-cells[i-1].at)
			}
		}
		if !slices.Equal(runs[0], runs[1]) {
			t.Errorf("%v: the writes tell whether something is sent", shape)
		}
	}
}

// Cells begin early once 64 KiB were sent, in whatever calls.
func TestCellsBeginEarly(t *testing.T) {
	for name, send := range map[string]func(c *Conn) error{
		"many small": func(c *Conn) error {
			for range 70 {
				if err := c.WritePacket(make([]byte, 800)); err != nil {
					return err
				}
			}
			return nil
		},
		"queued":  func(c *Conn) error { return errors.Join(c.Queue(make([]byte, startsAt)), c.Flush()) },
		"at once": func(c *Conn) error { return c.WritePacket(make([]byte, startsAt)) },
		"in place": func(c *Conn) error {
			return c.WriteInPlace(make([]byte, Headroom+startsAt+Tailroom))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, _, up, _ := coverPair(t, Shape{Mode: ShapeCover})
			time.Sleep(5 * time.Second)
			if err := send(a); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second)
			cells := up.since(5*time.Second + 1)
			if len(cells) < 3 {
				t.Fatalf("%s: %d cells ten seconds later", name, len(cells))
			}
			if at := cells[0].at - 5*time.Second; at < coverEvery/2 || at > coverEvery*3/2 {
				t.Errorf("%s: the first cell leaves after %v", name, at)
			}
			up.sizesIn(t, 5*time.Second+1, defaultCell)
		})
	}
}

// A backlog of every size, also one that leaves too little of a cell for a decoy, leaves in cells.
func TestCellsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up, received := coverPair(t, Shape{Mode: ShapeCover, Cell: 300, Budget: maxBudget})
		time.Sleep(startsAfter + time.Millisecond)
		for gap := range 2*minFiller + 2 {
			for _, cells := range []int{1, 2} {
				before := a.Shaping()
				p := testBytes(cells*300-gap-minFiller, uint64(gap))
				if err := a.WritePacket(p); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(cells) * 3 * time.Second / 2 * 2)
				expect(t, received, [][]byte{p})
				if real := a.Shaping().SentReal - before.SentReal; real != uint64(packetSize(len(p))) {
					t.Errorf("gap %d: %d real bytes for %d", gap, real, packetSize(len(p)))
				}
			}
		}
		time.Sleep(time.Minute)
		up.sizesIn(t, startsAfter, 300)
		sent := a.Shaping()
		if got, all := sent.SentReal+sent.SentFiller, up.bytesSince(1); got < uint64(all) || got > uint64(all)+minFiller+1024 {
			t.Errorf("%d bytes of %d are accounted for", got, all)
		}
	})
}

// A backlog that is too large leaves at once, padded, and so does what follows, until cells can carry it.
func TestCellsOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up, received := coverPair(t, Shape{Mode: ShapeCover})
		time.Sleep(startsAfter + time.Millisecond)
		var sent [][]byte
		send := func(n int) {
			t.Helper()
			sent = append(sent, testBytes(n, uint64(len(sent))))
			if err := a.WritePacket(sent[len(sent)-1]); err != nil {
				t.Fatal(err)
			}
		}
		outside := func() (sizes []int) { // of writes at this instant
			for _, w := range up.since(time.Since(up.began)) {
				sizes = append(sizes, w.size)
			}
			return sizes
		}
		for range 16 {
			send(4000)
		}
		if got := outside(); len(got) != 0 {
			t.Errorf("a backlog of %d bytes leaves as %v", len(sent)*packetSize(4000), got)
		}
		send(4000)
		if got := outside(); !slices.Equal(got, []int{80 << 10}) {
			t.Errorf("an overflow leaves as %v", got)
		}
		expect(t, received, sent)
		sent = nil
		send(100)
		send(1_000_000)
		if got := outside(); !slices.Equal(got, []int{80 << 10, 1024, 62 * stream.BatchSize}) {
			t.Errorf("it goes on as %v", got)
		}
		synctest.Wait()
		expect(t, received, sent)
		for range 20 { // more than cells can carry
			time.Sleep(coverEvery / 4)
			send(900)
		}
		if n := a.Shaping().Overflows; n != 1 {
			t.Errorf("%d overflows", n)
		}
		for range 20 { // at most one cell's worth from one cell to the next
			time.Sleep(coverEvery / 4)
			send(100)
		}
		if got := outside(); len(got) != 0 {
			t.Errorf("after the overflow: %v", got)
		}
		from := time.Since(up.began)
		time.Sleep(time.Minute)
		expect(t, received, sent[2:])
		up.sizesIn(t, from, defaultCell)
		for range 17 {
			send(4000)
		}
		if n := a.Shaping().Overflows; n != 2 {
			t.Errorf("%d overflows after the second", n)
		}
	})
}

// When the budget is used the mode is pad, until the next day.
func TestCellsBudget(t *testing.T) {
	for _, mode := range []ShapeMode{ShapeCover, ShapeTunnel} {
		synctest.Test(t, func(t *testing.T) {
			var c changes
			a, _, up, received := coverPair(t, Shape{Mode: mode, Cell: maxCell, Every: minEvery, Budget: minBudget, Changed: c.add})
			sent := [][]byte{testBytes(3000, 1), testBytes(40_000, 2), testBytes(100, 3)}
			time.Sleep(startsAfter + 3*time.Second)
			if err := a.WritePacket(sent[0]); err != nil { // leaves in cells
				t.Error(err)
			}
			time.Sleep(10 * time.Minute)
			c.check(t, ShapeChange{ShapePad, ShapeBudgetUsed})
			if got := a.Shaping(); got.Mode != ShapePad || got.SentFiller < minBudget-maxCell || got.SentFiller > minBudget+maxCell {
				t.Errorf("%v: %+v", mode, got)
			}
			from := time.Since(up.began)
			for _, p := range sent[1:] {
				if err := a.WritePacket(p); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(10 * time.Hour)
			if got := up.since(from); !slices.Equal(got, []written{{from, 48 << 10}, {from, 1 << 10}}) {
				t.Errorf("%v: in pad: %v", mode, got)
			}
			expect(t, received, sent)
			used := a.Shaping().SentFiller
			time.Sleep(day - time.Since(up.began) + time.Minute)
			then := mode
			if mode == ShapeTunnel {
				then = ShapeCover // for the other end has not answered
			}
			want := []ShapeChange{{ShapePad, ShapeBudgetUsed}, {mode, ShapeBudgetRenewed}}
			if mode != then {
				want = append(want, ShapeChange{then, ShapeNotAgreed})
			}
			want = append(want, ShapeChange{ShapePad, ShapeBudgetUsed})
			c.check(t, want...)
			if got := a.Shaping().SentFiller - used; got < minBudget || got > minBudget+maxCell {
				t.Errorf("%v: %d bytes of filler on the second day", mode, got)
			}
			up.sizesIn(t, day, maxCell)
			if first := up.since(day)[0]; first.at != day {
				t.Errorf("%v: the first cell leaves at %v", mode, first.at)
			}
		})
	}
}

// When the budget is used up does not tell how much was sent.
func TestCellsBudgetDoesNotTell(t *testing.T) {
	var ends []time.Duration
	for _, talks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			used := make(chan time.Time, 1)
			a, _, up, _ := coverPair(t, Shape{Mode: ShapeCover, Cell: maxCell, Budget: minBudget, Changed: func(ShapeChange) { used <- time.Now() }})
			drawFrom(t, a, 7)
			time.Sleep(startsAfter)
			for talks && len(used) == 0 {
				time.Sleep(coverEvery)
				if err := a.WritePacket(make([]byte, maxCell/2)); err != nil {
					t.Fatal(err)
				}
			}
			ends = append(ends, (<-used).Sub(up.began))
			if s := a.Shaping(); talks && s.SentReal < minBudget/4 {
				t.Errorf("only %d bytes were sent", s.SentReal)
			}
		})
	}
	if ends[0] != ends[1] {
		t.Errorf("the budget was used up after %v, and after %v with traffic", ends[0], ends[1])
	}
}

// An error of the connection ends the rhythm, and every later call has it.
func TestCellsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, up, _ := coverPair(t, Shape{Mode: ShapeCover})
		time.Sleep(startsAfter + time.Millisecond)
		if err := a.WritePacket(make([]byte, 50_000)); err != nil {
			t.Error(err)
		}
		b.Close()
		time.Sleep(time.Minute)
		from := time.Since(up.began)
		time.Sleep(time.Hour)
		if got := up.since(from); len(got) > 0 {
			t.Errorf("then %d writes", len(got))
		}
		for name, err := range map[string]error{"WritePacket": a.WritePacket(nil), "Queue": a.Queue(nil), "Flush": a.Flush(), "CloseWrite": a.CloseWrite()} {
			if err == nil || isTimeout(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if a.out.shaper.cells.backlog != nil {
			t.Error("the backlog is kept")
		}
	})
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A flood of decoys is counted, and costs a reader no memory.
func TestDecoysReceived(t *testing.T) {
	s, _, _, o := ciphers(t)
	const n, contents = 50_000, 37
	var flood []byte
	for range n {
		flood = s.seal(flood, make([]byte, contents), nil, true)
	}
	flood = s.seal(flood, []byte("message"), nil, false)
	c := receiverOf(bytes.NewReader(flood), o)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if p, err := c.ReadPacket(); err != nil || string(p) != "message" {
		t.Errorf("got %q, %v", p, err)
	}
	runtime.ReadMemStats(&after)
	if got := c.Shaping(); got.ReceivedFiller != n*uint64(packetSize(contents)) {
		t.Errorf("%+v", got)
	}
	if got := after.Mallocs - before.Mallocs; got > n/20 { // a new key needs a few
		t.Errorf("%d allocations for %d decoys", got, n)
	}
}

// A tick that comes before it is due, as when it was put off meanwhile, sends nothing.
func TestCellsTickEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up, _ := coverPair(t, Shape{Mode: ShapeCover})
		time.Sleep(startsAfter + time.Millisecond)
		n := up.number()
		for range 3 {
			a.out.shaper.tick()
		}
		if more := up.number() - n; more > 0 {
			t.Errorf("%d writes", more)
		}
		time.Sleep(coverEvery * 3 / 2)
		if up.number() == n {
			t.Error("the cell that is due does not leave")
		}
	})
}
