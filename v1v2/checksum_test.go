package v1v2

import (
	"crypto/sha256"
	"testing"
)

// The checksum is what Sum256 gives, whatever is left of the last block.
func TestChecksum(t *testing.T) {
	if !knowsState {
		t.Error("this toolchain's SHA-256 has another state: checksums are slower than necessary")
	}
	payload := testBytes(1<<20+300, 1)
	for n := range 300 {
		for _, p := range [][]byte{payload[:n], payload[:1<<20+n]} {
			once := sha256.Sum256(p)
			twice := sha256.Sum256(once[:])
			if got, want := checksum(p), [4]byte(twice[:]); got != want {
				t.Fatalf("%d bytes: got %x, want %x", len(p), got, want)
			}
		}
	}
}
