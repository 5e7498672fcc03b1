package stream

import (
	"bytes"
	"io"
	"syscall"
	"testing"
	"testing/iotest"
	"unsafe"
)

// resident returns how many bytes of b, which begins at a page, are resident.
func resident(t *testing.T, b []byte) (n int) {
	t.Helper()
	seen := make([]byte, pages(len(b))/pageSize)
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&seen[0])))
	if errno != 0 {
		t.Skip("not run: mincore: ", errno)
	}
	for _, page := range seen {
		n += int(page&1) * pageSize
	}
	return n
}

// Of an announced body, only what has arrived is resident.
func TestPromisesAreNotResident(t *testing.T) {
	const promised, arrived = 4_000_000, 300_000
	m := NewMemory(16 << 20)
	var held []byte
	in := readFunc(func([]byte) (int, error) {
		held = m.arena[:promised] // the first body begins at the start of the arena
		if got := resident(t, held); got < arrived || got > pages(arrived) {
			t.Errorf("%d bytes are resident when %d have arrived", got, arrived)
		}
		return 0, io.EOF
	})
	r := readerOf(io.MultiReader(iotest.HalfReader(bytes.NewReader(pattern(arrived))), in))
	r.SetMemory(m)
	var b Body
	if err := r.ReadBody(&b, 0, promised, 0, nil); err != io.ErrUnexpectedEOF || held == nil {
		t.Errorf("got %v before the check of resident memory", err)
	}
}
