package command

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Without enough descriptors the fence of seccomp is an error, and what it has opened is closed.
func TestSeccompWithoutDescriptors(t *testing.T) {
	const alone = "TEST_ALONE" // the limit is the whole process's
	if os.Getenv(alone) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSeccompWithoutDescriptors$")
		cmd.Env = append(os.Environ(), alone+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	listenForTest(t) // the runtime's own descriptors are open from now on
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	open := descriptors(t)
	failed := 0
	for most := uint64(3); ; most++ {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		f, err := openSeccomp()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			f.close()
		} else if failed++; !errors.Is(err, syscall.EMFILE) {
			t.Errorf("with %d descriptors: %v", most, err)
		}
		if n := descriptors(t); n != open {
			t.Fatalf("%d descriptors are open after %v, %d before", n, err, open)
		}
		if err == nil {
			break
		}
	}
	if failed == 0 {
		t.Error("no limit was too low")
	}
}

// descriptors returns how many descriptors this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
