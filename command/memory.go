package command

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// quietInterval is the time between two looks at what was allocated.
	quietInterval = 4 * time.Second

	// quietBytes is the most that is allocated in a quiet interval, in bytes: by two or three
	// sessions that open.
	quietBytes = 64 << 10

	// worthwhile is how much must have been allocated since the last collection, in bytes.
	worthwhile = 1 << 20
)

// spareMemory makes the garbage collector run early, unless the environment configures
// it: most sessions are idle, and memory is worth more than CPU time. The caller keeps
// the ballast alive. It is never touched, so it takes no memory, but it counts as heap:
// so the heap grows by 8 MB between collections even with few sessions.
func spareMemory() (ballast []byte) {
	switch {
	case os.Getenv("GOGC") != "":
	case os.Getenv("GOMEMLIMIT") != "": // it would count the ballast, too
		debug.SetGCPercent(30)
	default:
		debug.SetGCPercent(12)
		ballast = make([]byte, 64<<20)
	}
	return ballast
}

// collectWhenQuiet calls collect after much was allocated, by sessions that opened, and then little:
// the runtime waits until megabytes more are garbage. It returns when done is closed.
func collectWhenQuiet(allocated func() uint64, collect func(), done <-chan struct{}) {
	var last, collected uint64
	tick := time.NewTicker(quietInterval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := allocated()
		if now-last <= quietBytes && now-collected >= worthwhile {
			collect()
			collected = now
		}
		last = now
	}
}

// heapAllocated returns how much was allocated on the heap so far, in bytes.
func heapAllocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// freeMemory collects garbage and returns its memory to the system. A sync.Pool keeps its buffers for
// one collection.
func freeMemory() {
	runtime.GC()
	debug.FreeOSMemory()
}
