//go:build !unix

package stream

// mapArena returns size bytes of the heap.
func mapArena(size int) []byte { return make([]byte, size) }

// unmapArena leaves the arena to the garbage collector.
func unmapArena([]byte) {}
