package stream

import (
	"math/bits"
	"sync"
)

// smallestHeapBody is the size of the smallest body that is kept, in bytes.
const smallestHeapBody = 32 << 10

// heapBodies holds the bodies on the heap that are not in use: [i] those of
// smallestHeapBody<<i bytes.
var heapBodies [8]sync.Pool

// heapClass returns the index in heapBodies for a body of size bytes.
func heapClass(size int) int { return bits.Len(uint(size-1) / smallestHeapBody) }

// usedHeapBody returns a body of at least size bytes that was in use, or nil.
func usedHeapBody(size int) *[]byte {
	if class := heapClass(size); class < len(heapBodies) {
		used, _ := heapBodies[class].Get().(*[]byte)
		return used
	}
	return nil
}

// HeapBody returns a body of at least size bytes, allocated if none was in use.
func HeapBody(size int) *[]byte {
	if used := usedHeapBody(size); used != nil {
		return used
	}
	if class := heapClass(size); class < len(heapBodies) {
		size = smallestHeapBody << class
	}
	b := make([]byte, size)
	return &b
}

// PutHeapBody takes back what HeapBody returned.
func PutHeapBody(b *[]byte) {
	*b = (*b)[:cap(*b)]
	if class := heapClass(len(*b)); class < len(heapBodies) {
		heapBodies[class].Put(b)
	}
}
