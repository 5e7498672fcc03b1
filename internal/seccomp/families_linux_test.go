//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Of each architecture, socket(2) is refused for all families but those that are confined, and no other call is.
func TestFamilyFilter(t *testing.T) {
	verdict := newVerdict(t, familyFilter())
	if socketCalls[runtime.GOARCH] != unix.SYS_SOCKET {
		t.Errorf("socket(2) has number %d", unix.SYS_SOCKET)
	}
	for name, socket := range socketCalls {
		numbers := []uint32{socket}
		if name == "amd64" {
			numbers = append(numbers, x32|socket)
		}
		for number := range uint32(600) {
			want := uint32(unix.SECCOMP_RET_ALLOW)
			if number == socket {
				want = unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)
			}
			if got := verdict(archs[name], number, unix.AF_VSOCK); got != want {
				t.Errorf("%s, call %d: %#x, want %#x", name, number, got, want)
			}
		}
		for _, number := range numbers {
			for family := range uint32(64) {
				allowed := verdict(archs[name], number, 1<<40|uint64(family)) == unix.SECCOMP_RET_ALLOW
				if allowed != slices.Contains(confined, family) {
					t.Errorf("%s: family %d is allowed: %v", name, family, allowed)
				}
			}
		}
	}
}
