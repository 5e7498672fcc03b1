//go:build !linux

package main

import (
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// cpuTime returns the user and system CPU time that the process with this id has used so far, in the system's
// resolution.
func cpuTime(pid int32) (time.Duration, error) {
	t, err := (&process.Process{Pid: pid}).Times()
	if err != nil {
		return 0, err
	}
	return time.Duration((t.User + t.System) * float64(time.Second)), nil
}
