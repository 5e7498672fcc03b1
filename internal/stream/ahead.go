package stream

import (
	"runtime"
	"sync"
)

// aheadFrom is the size, in bytes, from which a body is handed over. Waking another core costs
// a fortieth of the work on a body of that size, and a fifth of that on one of 160 kB.
const aheadFrom = 1 << 20

// ahead is a body that another goroutine uses while the Reader reads the next one.
type ahead struct {
	running sync.WaitGroup
	body    Body
	err     error
}

// HandOver calls use in another goroutine, and frees then what b holds. Meanwhile the Reader can
// read into b again: if there is no memory for that, ReadBody waits for use. It reports false,
// and does nothing, if b is too small or there is a single core. If use fails, reads from the
// socket do, too, for good. Settle must be called before the next HandOver.
func (r *Reader) HandOver(b *Body, use func() error) bool {
	if len(b.Bytes) < aheadFrom || b.Partial() || runtime.GOMAXPROCS(0) == 1 {
		return false
	}
	if r.ahead == nil {
		r.ahead = new(ahead)
	}
	a := r.ahead
	a.body.Bytes, a.body.memory, a.body.heap = b.Bytes, b.memory, b.heap
	b.Bytes, b.heap = nil, nil
	a.running.Go(func() {
		a.err = use()
		a.body.Release()
		if a.err != nil {
			r.socket.Interrupt()
		}
	})
	return true
}

// Settle waits for what HandOver began, if anything, and returns its error.
func (r *Reader) Settle() error {
	if r.ahead == nil {
		return nil
	}
	r.ahead.running.Wait()
	return r.ahead.err
}
