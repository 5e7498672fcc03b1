//go:build unix

package proxy

import "syscall"

// descriptorLimit is how many files and sockets this process may have open. Go has
// raised it to the hard limit when the program started.
func descriptorLimit() int {
	const plenty = 1 << 20
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > plenty {
		return plenty
	}
	return int(limit.Cur)
}
