//go:build unix

package stream

import "syscall"

// mapArena returns size bytes of address space that become memory when they are
// written to. They are none of the heap's, so that they do not make the garbage
// collector wait for as much garbage. It returns nil if the system has none.
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
