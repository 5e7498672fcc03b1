//go:build unix

package main

import "syscall"

// descriptors raises the descriptor limit of this process and its children to what the largest scenario needs, and
// returns the resulting limit. Only root can exceed the hard limit, and not on every system.
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
