//go:build unix

package stream

import "syscall"

// mapArena returns size bytes of address space, or nil if the system has none. Pages
// become resident when they are written to. They are not part of the heap, whose size
// tells the garbage collector how much garbage to wait for.
func mapArena(size int) []byte {
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

func unmapArena(b []byte) {
	if err := syscall.Munmap(b); err != nil {
		panic("stream: internal error: " + err.Error())
	}
}
