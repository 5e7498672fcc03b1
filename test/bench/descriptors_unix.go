//go:build unix

package main

import "syscall"

// raiseDescriptorLimit asks for as many as the largest scenario needs, for this process and those that it starts. Above
// the hard limit only root can.
func raiseDescriptorLimit() {
	const want = 50_000
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur >= want {
		return
	}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: want, Max: max(want, limit.Max)}) != nil {
		limit.Cur = limit.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}
