package stream

import (
	"sync"
	"sync/atomic"
)

const (
	// bulkSize is the size of the buffers that a Reader or Writer borrows while many small
	// messages pass, in bytes: with BatchSize, a sixth of the cost of a message is the calls.
	bulkSize = 64 << 10

	// bulkLimit is how many of these there are at once: one that waits for its socket keeps them.
	bulkLimit = 64
)

type bulk [bulkSize]byte

var (
	bulks      = sync.Pool{New: func() any { return new(bulk) }}
	bulksTaken atomic.Int32
)

// takeBulk returns a buffer, or nil if too many are in use.
func takeBulk() *bulk {
	if bulksTaken.Add(1) > bulkLimit {
		bulksTaken.Add(-1)
		return nil
	}
	return bulks.Get().(*bulk)
}

// putBulk returns what takeBulk returned.
func putBulk(b *bulk) {
	if b != nil {
		bulks.Put(b)
		bulksTaken.Add(-1)
	}
}
