package netns

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ReleaseFiles closes the files that this process has inherited, except stderr: they are the
// command's, and a reader of its output sees the end only once no other process has it open. It
// opens stdin and stdout on the null device.
func ReleaseFiles() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 2 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 && isInherited(fd) {
			unix.Close(fd)
		}
	}
	return nil
}
