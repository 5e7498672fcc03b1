package inherited

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Is reports whether a descriptor was open when this program started. The program opens all others
// so that exec closes them.
func Is(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// Release closes the inherited files, except stderr: a reader of the command's output sees the end
// only once no other process has it open. It opens stdin and stdout on the null device.
func Release() error {
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
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 && Is(fd) {
			unix.Close(fd)
		}
	}
	return nil
}
