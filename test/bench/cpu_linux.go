package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time that the process with this id has used so far, in nanoseconds' resolution.
func cpuTime(pid int32) (time.Duration, error) {
	const sched = 2 // see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(^pid<<3|sched, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}
