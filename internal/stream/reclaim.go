package stream

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// MinRate is the least rate, in bytes a second, at which the peer must send or take a body
	// whose memory others wait for, in a Memory that NewReclaimingMemory made.
	MinRate = 16 << 10

	// ReclaimWindow is the time over which the rate is measured.
	ReclaimWindow = 2 * time.Second

	// reclaimEvery is the time between two looks at the rates, while a body waits.
	reclaimEvery = ReclaimWindow / 8

	// raiseAfter is the time after which the rate must be twice as high, if one body has
	// waited that long, and so on: a crowd at the minimum must not keep all others waiting.
	raiseAfter = 10 * time.Second

	// countedWrite is how much is written at a time where only the writes show the progress.
	countedWrite = 32 << 10
)

// ErrReclaimed means that a body was sent or taken too slowly while others waited for its
// memory.
var ErrReclaimed = errors.New("a large message took too long while others waited for its memory")

// holder is a body in memory that can be reclaimed, while the socket's other end sends or
// takes it. Its fields are guarded by Memory.mu, except moved.
type holder struct {
	memory *Memory // nil: it does not hold any
	socket *Socket
	writes bool // the other end takes the body
	size   int
	moved  atomic.Uint64 // bytes that were read or written

	ended bool
	seen  uint64    // progress at since
	since time.Time // of the window; zero: nothing was seen
}

// NewReclaimingMemory is NewMemory, but while a body waits for memory, bodies that hold some
// and whose peers send or take them at under MinRate end with ErrReclaimed: the slowest
// first, until enough is free for those that wait. It affects only Readers and Writers whose
// Reclaim was called.
func NewReclaimingMemory(size int) *Memory {
	m := NewMemory(size)
	m.holders = make(map[*holder]struct{})
	return m
}

// hold makes the memory of h reclaimable until leave.
func (m *Memory) hold(h *holder, socket *Socket, writes bool, size int) {
	if m == nil || m.holders == nil || h.memory != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h.memory, h.socket, h.writes, h.size = m, socket, writes, size
	h.ended, h.since = false, time.Time{}
	h.moved.Store(0)
	if len(m.waiting) > 0 {
		h.look(time.Now())
	}
	m.holders[h] = struct{}{}
}

// leave ends what hold began, and reports whether the memory was reclaimed: then the
// socket's reads or writes fail.
func (h *holder) leave() (reclaimed bool) {
	m := h.memory
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.holders, h)
	h.memory, h.socket = nil, nil
	return h.ended
}

// reclaimed reports whether the memory of a holder was reclaimed.
func (h *holder) reclaimed() bool {
	m := h.memory
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return h.ended
}

// progress returns how many bytes have moved: those that the kernel knows the other end to
// have sent or taken, or, where it does not say, those read or written.
func (h *holder) progress() uint64 {
	if sent, taken, ok := kernelCounts(h.socket.Conn); ok {
		if h.writes {
			return taken
		}
		return sent
	}
	return h.moved.Load()
}

// look begins a window of the rate's measurement.
func (h *holder) look(now time.Time) { h.seen, h.since = h.progress(), now }

// watch schedules reclaim while a body waits. m.mu is held.
func (m *Memory) watch() {
	if m.holders == nil || m.watching {
		return
	}
	m.watching = true
	now := time.Now()
	for h := range m.holders {
		h.look(now)
	}
	time.AfterFunc(reclaimEvery, m.reclaim)
}

// reclaim ends the slowest holders below the minimum rate, until enough memory is free for all
// waiting bodies.
func (m *Memory) reclaim() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		m.watching = false
		return
	}
	time.AfterFunc(reclaimEvery, m.reclaim)
	now := time.Now()
	needed := 0
	for _, w := range m.waiting {
		needed += w.n
	}
	type slowHolder struct {
		*holder
		rate float64
	}
	var slow []slowHolder
	minimum := float64(int(MinRate) << min(now.Sub(m.waiting[0].since)/raiseAfter, 10))
	for h := range m.holders {
		switch {
		case h.ended:
			h.end() // again: the socket may have been given another deadline
			needed -= h.size
		case h.since.IsZero():
			h.look(now)
		case now.Sub(h.since) >= ReclaimWindow:
			before, took := h.seen, now.Sub(h.since)
			h.look(now)
			if rate := float64(h.seen-before) / took.Seconds(); rate < minimum {
				slow = append(slow, slowHolder{h, rate})
			}
		}
	}
	slices.SortFunc(slow, func(a, b slowHolder) int { return cmp.Compare(a.rate, b.rate) })
	for _, h := range slow {
		if needed <= 0 {
			break
		}
		h.ended = true
		h.end()
		needed -= h.size
	}
}

// end makes the socket's reads or writes fail.
func (h *holder) end() {
	if h.writes {
		h.socket.SetWriteDeadline(past)
	} else {
		h.socket.Interrupt()
	}
}

// Reclaim lets the memory of bodies be reclaimed while the other end of the socket sends
// them too slowly: see NewReclaimingMemory. It must not be called while another goroutine
// reads.
func (r *Reader) Reclaim() { r.reclaim = true }

// Reclaim lets m, the memory of what Send sends, be reclaimed while the other end of the
// socket takes that too slowly: see NewReclaimingMemory.
func (w *Writer) Reclaim(m *Memory) { w.memory = m }

// write writes p. The progress of a holder shows in the kernel's counts or in the writes.
func (w *Writer) write(p []byte) (n int, err error) {
	if w.holder.memory == nil || isCounted(w.socket.Conn) {
		return w.socket.Conn.Write(p)
	}
	for n < len(p) && err == nil {
		piece := p[n:min(len(p), n+countedWrite)]
		var k int
		k, err = w.socket.Conn.Write(piece)
		w.holder.moved.Add(uint64(k))
		if n += k; k < len(piece) {
			break
		}
	}
	return n, err
}

// isCounted reports whether the kernel counts what conn moves.
func isCounted(conn net.Conn) bool {
	_, _, ok := kernelCounts(conn)
	return ok
}
