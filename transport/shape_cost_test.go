package transport

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// discardConn takes every write.
type discardConn struct{ net.Conn }

func (discardConn) Write(p []byte) (int, error)      { return len(p), nil }
func (discardConn) SetWriteDeadline(time.Time) error { return nil }
func (discardConn) SetReadDeadline(time.Time) error  { return nil }
func (discardConn) Close() error                     { return nil }

// A connection that waits for the next cell needs little memory and has no goroutine, also after a
// backlog has left.
func TestCellsMemory(t *testing.T) {
	const conns = 1000
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // frees what sync.Pools keep
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	idle := func(shape Shape) (perConn int64) {
		before, goroutines := heap(), runtime.NumGoroutine()
		all := make([]*Conn, conns)
		for i := range all {
			all[i] = shapedTo(t, discardConn{}, shape)
			if shape.Mode == ShapeOff {
				continue
			}
			if err := all[i].Queue(make([]byte, 20_000)); err != nil { // before the cells
				t.Fatal(err)
			}
			tickNow(all[i])
			if err := all[i].WritePacket(make([]byte, 5000)); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				tickNow(all[i])
			}
		}
		perConn = (heap() - before) / conns
		if n := runtime.NumGoroutine() - goroutines; n > 2 { // ticks of the timers, perhaps
			t.Errorf("%v: %d goroutines", shape, n)
		}
		for _, c := range all {
			c.Close()
		}
		return perConn
	}
	off := idle(Shape{})
	for _, mode := range []ShapeMode{ShapeCover, ShapeTunnel} {
		got := idle(Shape{Mode: mode, Every: maxEvery}) - off
		t.Logf("%s: %d bytes for each connection", mode, got)
		if got > 1500 {
			t.Errorf("%s: %d bytes for each connection", mode, got)
		}
	}
}

// The garbage collector ends a connection that nobody uses any more and that was not closed: its cells
// do not keep it.
func TestCellsDropped(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	func() {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := shapedTo(t, near, Shape{Mode: ShapeCover, Every: minEvery})
		for range 3 {
			tickNow(c)
		}
	}()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	far.SetReadDeadline(time.Now().Add(time.Minute))
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, far)
		ended <- err
	}()
	for {
		runtime.GC()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// BenchmarkCell is the cost of a cell: without a message, and with one that fits.
func BenchmarkCell(b *testing.B) {
	for name, size := range map[string]int{"idle": -1, "message": 300} {
		b.Run(name, func(b *testing.B) {
			c := shapedTo(b, discardConn{}, Shape{Mode: ShapeCover, Every: maxEvery, Budget: maxBudget})
			defer c.Close()
			message := make([]byte, max(0, size))
			b.ReportAllocs()
			b.SetBytes(defaultCell)
			for b.Loop() {
				if size >= 0 {
					if err := c.WritePacket(message); err != nil {
						b.Fatal(err)
					}
				}
				tickNow(c)
			}
		})
	}
}
