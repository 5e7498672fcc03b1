//go:build unix

package main

import "syscall"

// descriptors asks for as many as the largest scenario needs, for this process and those that it starts, and returns how
// many there are. Above the hard limit only root can have them, and not everywhere.
func descriptors() int {
	const want = 50_000
	var limit syscall.Rlimit
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: want, Max: want})
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	limit.Cur = max(limit.Cur, limit.Max)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(limit.Cur)
}
