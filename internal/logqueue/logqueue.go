// Package logqueue decouples a log from the file, pipe or terminal it is written to. If
// nobody reads that, or it cannot be written, log lines are lost and nothing else happens.
package logqueue

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxLines = 16 << 10
	maxBytes = 4 << 20
)

// Queue is an io.Writer that takes one line per Write and never blocks: a goroutine writes
// the lines, one Write each. At most 16,384 lines and 4 MiB are queued; beyond that, lines
// are lost until half of the queue is written.
type Queue struct {
	out      io.Writer
	torn     bool // the last line was written in part; only the goroutine uses it
	tellLost func(n uint64) []byte
	lost     atomic.Uint64
	done     chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	changed sync.Cond
	waiting []entry
	bytes   int // of them
	full    bool
	dropped uint64 // since the last of waiting
	closed  bool
}

// entry is a line, and the number of lines lost before it.
type entry struct {
	line    []byte
	dropped uint64
}

// New returns a queue that writes to out. Lines that cannot be written are lost; before the
// next one that can, the queue writes tellLost(n), a line that reports n lost ones. The
// caller must call Close.
func New(out io.Writer, tellLost func(n uint64) []byte) *Queue {
	q := &Queue{out: out, tellLost: tellLost, done: make(chan struct{})}
	q.changed.L = &q.mu
	go q.run()
	return q
}

// Lost returns how many lines have been lost so far.
func (q *Queue) Lost() uint64 { return q.lost.Load() }

// Write queues a copy of line, or drops it if there is no room or the queue is closed.
// It returns len(line) and no error.
func (q *Queue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.full:
		q.full = len(q.waiting) > maxLines/2 || q.bytes > maxBytes/2
	case len(q.waiting) >= maxLines || q.bytes+len(line) > maxBytes:
		q.full = true
	}
	if q.full || q.closed {
		q.dropped++
		q.lost.Add(1)
		return len(line), nil
	}
	q.waiting = append(q.waiting, entry{bytes.Clone(line), q.dropped})
	q.bytes += len(line)
	q.dropped = 0
	q.changed.Signal()
	return len(line), nil
}

// Close writes the queued lines, for timeout at most. Later lines are lost.
func (q *Queue) Close(timeout time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.changed.Signal()
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(timeout):
	}
}

// run writes until the queue is closed and empty.
func (q *Queue) run() {
	defer close(q.done)
	untold := uint64(0)
	for {
		next, ok := q.next()
		untold += next.dropped
		if untold > 0 && q.write(q.tellLost(untold)) {
			untold = 0
		}
		if !ok {
			return
		}
		if next.line != nil && (untold > 0 || !q.write(next.line)) {
			untold++
			q.lost.Add(1)
		}
	}
}

// next waits for the next line, or, if the queue is empty, for dropped ones. ok is false
// if the queue is closed and empty.
func (q *Queue) next() (next entry, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && q.dropped == 0 && !q.closed {
		q.changed.Wait()
	}
	if len(q.waiting) == 0 {
		next.dropped, q.dropped = q.dropped, 0
		return next, !q.closed
	}
	next = q.waiting[0]
	q.waiting[0] = entry{}
	q.waiting = q.waiting[1:]
	q.bytes -= len(next.line)
	return next, true
}

// write reports whether all of the line could be written. It begins a new line after one
// that could be written only in part.
func (q *Queue) write(line []byte) bool {
	if q.torn {
		line = append([]byte("\n"), line...)
	}
	n, err := q.out.Write(line)
	if n > 0 {
		q.torn = n < len(line)
	}
	return err == nil
}
