package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cellsBegun returns a coverPair whose first cell has left.
func cellsBegun(t *testing.T) (a, b *Conn, up *writesRecorder, received chan []byte) {
	t.Helper()
	a, b, up, received = coverPair(t, Shape{Mode: ShapeCover})
	time.Sleep(startsAfter + time.Millisecond)
	return a, b, up, received
}

// CloseWrite sends a backlog in cells, and after half a minute, or if something ends the wait, at once.
func TestCloseWriteDrains(t *testing.T) {
	for _, test := range []struct {
		name    string
		backlog int
		early   bool // before the first cell
		during  func(a *Conn)
		min     time.Duration // that CloseWrite takes
		max     time.Duration
		rest    int // bytes of the write that leaves at the end, if any
	}{
		{name: "nothing waits"},
		{name: "before the cells", backlog: 3000, early: true, rest: 4096},
		{name: "in cells", backlog: 5000, min: 4 * time.Second, max: 15 * time.Second},
		{name: "half a minute", backlog: 60_000, min: drainTimeout, max: drainTimeout, rest: 48 << 10},
		{name: "interrupted before", backlog: 5000, during: func(a *Conn) { a.Interrupt() }, rest: 8192},
		{name: "interrupted", backlog: 30_000, during: func(a *Conn) { time.AfterFunc(300*time.Millisecond, a.Interrupt) },
			min: 300 * time.Millisecond, max: 300 * time.Millisecond, rest: 32 << 10},
		{name: "twice", backlog: 5000, during: func(a *Conn) { go a.CloseWrite() }, min: 4 * time.Second, max: 15 * time.Second},
		{name: "a deadline that has not passed", backlog: 5000, during: func(a *Conn) { a.SetWriteDeadline(time.Now().Add(20 * time.Second)) },
			min: 4 * time.Second, max: 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, _, up, received := coverPair(t, Shape{Mode: ShapeCover})
			if !test.early {
				time.Sleep(startsAfter + time.Millisecond)
			}
			var sent [][]byte
			for n := test.backlog; n > 0; n -= 500 {
				sent = append(sent, testBytes(480, uint64(n)))
				if err := a.Queue(sent[len(sent)-1]); err != nil {
					t.Fatal(err)
				}
			}
			before := up.number()
			if test.during != nil {
				test.during(a)
			}
			began := time.Now()
			if err := a.CloseWrite(); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if took := time.Since(began); took < test.min || took > test.max {
				t.Errorf("%s: it took %v", test.name, took)
			}
			expect(t, received, sent)
			if p, more := <-received; more {
				t.Errorf("%s: then %d bytes", test.name, len(p))
			}
			writes := up.since(0)[before:]
			if test.rest > 0 {
				if last := writes[len(writes)-1]; last.size != test.rest {
					t.Errorf("%s: the rest leaves in %d bytes", test.name, last.size)
				}
				writes = writes[:len(writes)-1]
			}
			for _, w := range writes {
				if w.size != defaultCell {
					t.Errorf("%s: a write of %d bytes", test.name, w.size)
				}
			}
			if err := a.WritePacket(nil); err == nil || isTimeout(err) {
				t.Errorf("%s: a write after the end: %v", test.name, err)
			}
			before = up.number()
			time.Sleep(time.Hour)
			if n := up.number() - before; n > 0 {
				t.Errorf("%s: %d writes after the end", test.name, n)
			}
		})
	}
}

// Packets that are written while CloseWrite waits leave, too.
func TestDrainTakesMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, up, received := cellsBegun(t)
		from := time.Since(up.began)
		sent := [][]byte{testBytes(2500, 1), testBytes(700, 2)}
		if err := a.WritePacket(sent[0]); err != nil {
			t.Error(err)
		}
		time.AfterFunc(time.Second, func() {
			if err := a.WritePacket(sent[1]); err != nil {
				t.Error(err)
			}
		})
		if err := a.CloseWrite(); err != nil {
			t.Error(err)
		}
		expect(t, received, sent)
		up.sizesIn(t, from, defaultCell)
	})
}

// The user's deadline ends CloseWrite's wait; the next call goes on.
func TestDrainDeadline(t *testing.T) {
	for _, later := range []bool{false, true} { // set while CloseWrite waits
		synctest.Test(t, func(t *testing.T) {
			a, _, up, received := cellsBegun(t)
			sent := [][]byte{testBytes(10_000, 1)}
			if err := a.WritePacket(sent[0]); err != nil {
				t.Error(err)
			}
			from := time.Since(up.began)
			set := func() { a.SetWriteDeadline(time.Now().Add(3 * time.Second)) }
			want := 3 * time.Second
			if later {
				time.AfterFunc(time.Second, set)
				want += time.Second
			} else {
				set()
			}
			var pending *PendingError
			for range 2 {
				began := time.Now()
				err := a.CloseWrite()
				if !errors.As(err, &pending) || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != want {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				want = 0 // the deadline has passed
			}
			a.SetWriteDeadline(time.Time{})
			if err := a.CloseWrite(); err != nil {
				t.Error(err)
			}
			expect(t, received, sent)
			if _, more := <-received; more {
				t.Error("the stream has not ended")
			}
			up.sizesIn(t, from, defaultCell)
		})
	}
}

// Close, and the other end's, end CloseWrite's wait.
func TestDrainCut(t *testing.T) {
	for name, cut := range map[string]func(a, b *Conn){
		"Close":          func(a, b *Conn) { a.Close() },
		"Close and Wipe": func(a, b *Conn) { a.Close(); a.Wipe() },
		"the other end":  func(a, b *Conn) { b.Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b, up, _ := cellsBegun(t)
			if err := a.WritePacket(testBytes(60_000, 1)); err != nil {
				t.Error(err)
			}
			time.AfterFunc(5*time.Second, func() { cut(a, b) })
			from, began := time.Since(up.began), time.Now()
			err := a.CloseWrite()
			if took := time.Since(began); err == nil || isTimeout(err) || took < 5*time.Second || took > 10*time.Second {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			up.sizesIn(t, from, defaultCell)
			if err := a.WritePacket(nil); err == nil || isTimeout(err) {
				t.Errorf("%s: a write after the end: %v", name, err)
			}
		})
	}
}

// Everything may be called at once, at the time of a tick, too.
func TestCellsRace(t *testing.T) {
	for _, end := range []string{"Close", "CloseWrite", "Interrupt"} {
		for range 5 {
			synctest.Test(t, func(t *testing.T) {
				a, b, _, received := coverPair(t, Shape{Mode: ShapeCover, Every: minEvery})
				go func() {
					for range received {
					}
				}()
				time.Sleep(startsAfter)
				var all sync.WaitGroup
				each := func(f func() error) {
					all.Go(func() {
						for range 200 {
							if err := f(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) &&
								!errors.Is(err, os.ErrDeadlineExceeded) {
								t.Error(err)
							}
							time.Sleep(minEvery / 10)
						}
					})
				}
				each(func() error { return a.WritePacket(make([]byte, 100)) })
				each(func() error { return a.Queue(make([]byte, 30)) })
				each(func() error { return a.WriteInPlace(make([]byte, 2000)) })
				each(a.Flush)
				each(func() error { return a.SetWriteDeadline(time.Now().Add(minEvery / 3)) })
				each(func() error { a.Shaping(); return nil })
				time.Sleep(10 * minEvery)
				switch end {
				case "Interrupt":
					a.Interrupt()
					fallthrough
				case "CloseWrite":
					if err := a.CloseWrite(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%s: %v", end, err)
					}
				}
				a.Close()
				all.Wait()
				a.Wipe()
				b.Close()
			})
		}
	}
}
