package stream

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrMemory says that there was no memory for a large message, nor did any become
// free in time.
var ErrMemory = errors.New("no memory for a large message")

const (
	// pageSize is what memory is handed out in, in bytes: the most common size
	// of the system's pages, and of what becomes resident as bytes arrive.
	pageSize = 4 << 10

	// keepUnused is how long memory stays with this process that no body needs.
	keepUnused = time.Minute
)

// Memory is the budget that the bodies of any number of Readers come out of: one
// stretch of address space, of which bodies get parts. Who finds it used up
// waits, in the order of asking, until others have been released.
//
// Only what has been written to is resident, so a body that waits for its bytes
// costs no more than those that came, and all of them together never cost more
// than the budget.
type Memory struct {
	size int

	mu      sync.Mutex
	arena   []byte // nil while unused
	free    []extent
	waiting []*waiter
	expiry  *time.Timer // runs if expires
	expires bool
	idle    time.Time // since when all of the arena has been free
}

// extent is a part of the arena.
type extent struct{ start, end int }

// waiter is a body that waits for n bytes.
type waiter struct {
	n     int
	given []byte
	ready chan struct{} // closed with given set
}

// NewMemory returns a budget of size bytes, rounded down to whole pages. What is
// larger than it can never be had. It panics if size is negative, as one is that did
// not fit an int.
func NewMemory(size int) *Memory {
	if size < 0 {
		panic("stream: the size of a Memory is negative")
	}
	return &Memory{size: size / pageSize * pageSize}
}

// Use is how a Memory stands.
type Use struct {
	Size    int // of the budget, in bytes
	Taken   int // by bodies, in bytes, arrived or not
	Waiting int // bodies that wait for memory
}

// Use says how much is taken.
func (m *Memory) Use() Use {
	m.mu.Lock()
	defer m.mu.Unlock()
	use := Use{Size: m.size, Waiting: len(m.waiting)}
	if m.arena != nil {
		use.Taken = m.size
		for _, e := range m.free {
			use.Taken -= e.end - e.start
		}
	}
	return use
}

// take returns n bytes, of any content. It waits for them until stop is closed
// or until has come, and then fails with ErrMemory.
func (m *Memory) take(n int, stop <-chan struct{}, until time.Time) ([]byte, error) {
	if n > m.size {
		return nil, ErrMemory
	}
	m.mu.Lock()
	if m.arena == nil {
		if m.arena = mapArena(m.size); m.arena == nil {
			m.mu.Unlock()
			return nil, ErrMemory
		}
		m.free = append(m.free[:0], extent{0, m.size})
	}
	if len(m.waiting) == 0 {
		if b := m.cut(n); b != nil {
			m.mu.Unlock()
			return b, nil
		}
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	m.waiting = append(m.waiting, w)
	m.mu.Unlock()

	timeout := time.NewTimer(time.Until(until))
	defer timeout.Stop()
	select {
	case <-w.ready:
		return w.given, nil
	case <-timeout.C:
	case <-stop:
	}
	m.mu.Lock()
	if i := slices.Index(m.waiting, w); i >= 0 {
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.serve() // who waits behind it may want less
	}
	given := w.given
	m.mu.Unlock()
	if given != nil {
		m.put(given) // it came too late
	}
	return nil, ErrMemory
}

// put gives back what take returned.
func (m *Memory) put(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	start := m.size - cap(b) // every part reaches, by its capacity, to the arena's end
	back := extent{start, start + pages(len(b))}
	i, _ := slices.BinarySearchFunc(m.free, back, func(e, back extent) int { return e.start - back.start })
	if i < len(m.free) && m.free[i].start == back.end {
		back.end = m.free[i].end
		m.free = slices.Delete(m.free, i, i+1)
	}
	if i > 0 && m.free[i-1].end == back.start {
		m.free[i-1].end = back.end
	} else {
		m.free = slices.Insert(m.free, i, back)
	}
	m.serve()
	if m.unused() {
		m.idle = time.Now()
		m.expireIn(keepUnused)
	}
}

// serve gives memory to those who wait, as far as it goes. m.mu is held.
func (m *Memory) serve() {
	for len(m.waiting) > 0 {
		w := m.waiting[0]
		if w.given = m.cut(w.n); w.given == nil {
			return
		}
		m.waiting = slices.Delete(m.waiting, 0, 1)
		close(w.ready)
	}
}

// cut takes n bytes out of the first free part that has them, and so, most
// likely, of memory that has just been used. It returns nil if there is none.
// m.mu is held.
func (m *Memory) cut(n int) []byte {
	for i, e := range m.free {
		if e.end-e.start < n {
			continue
		}
		if m.free[i].start += pages(n); m.free[i].start == e.end {
			m.free = slices.Delete(m.free, i, i+1)
		}
		return m.arena[e.start : e.start+n]
	}
	return nil
}

// unused says whether all of the arena is free. m.mu is held.
func (m *Memory) unused() bool {
	return m.arena != nil && len(m.free) == 1 && m.free[0] == extent{0, m.size}
}

// expireIn has the arena looked at after d, unless that will happen anyway. m.mu
// is held.
func (m *Memory) expireIn(d time.Duration) {
	switch {
	case m.expires:
		return
	case m.expiry == nil:
		m.expiry = time.AfterFunc(d, m.expire)
	default:
		m.expiry.Reset(d)
	}
	m.expires = true
}

// expire gives the arena back to the system if nobody has needed it for a while.
func (m *Memory) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expires = false
	switch left := keepUnused - time.Since(m.idle); {
	case !m.unused(): // put will see to it
	case left > 0:
		m.expireIn(left)
	default:
		unmapArena(m.arena)
		m.arena = nil
	}
}

// pages is n, rounded up to whole pages.
func pages(n int) int { return (n + pageSize - 1) / pageSize * pageSize }
