package stream

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// ErrMemory means that no memory for a large message became free in time.
var ErrMemory = errors.New("no memory for a large message")

const (
	// pageSize is the unit of allocation, in bytes: the most common size of the system's
	// pages, which become resident one by one as bytes arrive.
	pageSize = 4 << 10

	// keepUnused is how long the arena stays mapped while no body needs it.
	keepUnused = time.Minute
)

// Memory is a budget for the bodies of any number of Readers: an arena of which each body
// gets a part. When it is used up bodies wait for others to be released, first come,
// first served.
//
// Only pages that were written to are resident: a body costs what has arrived of it, and
// all bodies together never more than the budget.
type Memory struct {
	size int

	mu      sync.Mutex
	arena   []byte // nil while unused
	free    []extent
	waiting []*waiter
	expiry  *time.Timer // of expire

	holders  map[*holder]struct{} // nil: no memory is reclaimed
	watching bool                 // reclaim will be called
}

// extent is a part of the arena.
type extent struct{ start, end int }

// waiter is a body that waits for n bytes.
type waiter struct {
	n     int
	since time.Time
	given []byte
	ready chan struct{} // closed with given set
}

// NewMemory returns a budget of size bytes, rounded down to whole pages. Requests larger
// than that always fail. It panics if size is negative, which an overflow makes it.
func NewMemory(size int) *Memory {
	if size < 0 {
		panic("stream: the size of a Memory is negative")
	}
	return &Memory{size: size / pageSize * pageSize}
}

// Usage is how much of a Memory is in use.
type Usage struct {
	Size    int
	Taken   int // by bodies, arrived or not
	Waiting int // bodies that wait for memory
}

// Usage reports how much is in use.
func (m *Memory) Usage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	use := Usage{Size: m.size, Waiting: len(m.waiting)}
	if m.arena != nil {
		use.Taken = m.size
		for _, e := range m.free {
			use.Taken -= e.end - e.start
		}
	}
	return use
}

// take returns n bytes, not zeroed. It waits for them until stop is closed or the
// deadline until has passed, and then fails with ErrMemory. If user is not nil it also
// fails when user's limit has passed, with os.ErrDeadlineExceeded, or is closed.
func (m *Memory) take(n int, until time.Time, stop <-chan struct{}, user *deadlines) ([]byte, error) {
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
	w := &waiter{n: n, since: time.Now(), ready: make(chan struct{})}
	m.waiting = append(m.waiting, w)
	m.watch()
	m.mu.Unlock()

	err := w.wait(until, stop, user)
	if err == nil {
		return w.given, nil
	}
	m.mu.Lock()
	if i := slices.Index(m.waiting, w); i >= 0 {
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.serve() // the next one may need less
	}
	given := w.given
	m.mu.Unlock()
	if given != nil {
		m.put(given) // too late
	}
	return nil, err
}

// wait waits for w's memory; see take.
func (w *waiter) wait(until time.Time, stop <-chan struct{}, user *deadlines) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		next, late := until, ErrMemory
		var changed <-chan struct{}
		if user != nil {
			var limit time.Time
			var closed bool
			if limit, closed, changed = user.await(); closed {
				return net.ErrClosed
			}
			if next = earlier(until, limit); !next.Equal(until) {
				late = os.ErrDeadlineExceeded
			}
			timer.Reset(time.Until(next))
		}
		select {
		case <-w.ready:
			return nil
		case <-stop:
			return ErrMemory
		case <-timer.C:
			return late
		case <-changed:
			select { // an interrupt before the change
			case <-stop:
				return ErrMemory
			default:
			}
		}
	}
}

// put gives back what take returned.
func (m *Memory) put(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	start := m.size - cap(b) // every part's capacity reaches to the end of the arena
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
	switch {
	case !m.unused():
	case m.expiry == nil:
		m.expiry = time.AfterFunc(keepUnused, m.expire)
	default:
		m.expiry.Reset(keepUnused)
	}
}

// serve gives memory to the bodies that wait, as long as there is enough. m.mu is held.
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

// cut takes n bytes out of the first free part that is large enough, most likely one that
// is resident. It returns nil if there is none. m.mu is held.
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

// unused reports whether the arena is mapped and free. m.mu is held.
func (m *Memory) unused() bool {
	return m.arena != nil && len(m.free) == 1 && m.free[0] == extent{0, m.size}
}

// expire returns the arena to the system if no body has needed it for keepUnused.
func (m *Memory) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unused() {
		unmapArena(m.arena)
		m.arena = nil
	}
}

// pages returns n rounded up to whole pages.
func pages(n int) int { return (n + pageSize - 1) / pageSize * pageSize }
