package netns

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// isDenied reports whether the command loses capability c even as root: with it, it could change
// the namespace, enter another, or trace a process that can. Programs of an ordinary user have no
// capability anyway.
func isDenied(c uintptr) bool {
	return slices.Contains([]uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_MODULE, unix.CAP_BPF}, c)
}

// dropCapabilities takes capabilities from the programs that this thread will execute: all from
// an ordinary user's, those that are dropped from root's.
func dropCapabilities(dropped func(c uintptr) bool) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	for c := uintptr(0); ; c++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the kernel has no more
		}
		if err != nil {
			return err
		}
		if has == 0 || !dropped(c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
	}
	// This thread keeps its own: a program that gains one by exec cannot be traced or dumped.
	header, sets := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	return unix.Capset(&header, &sets[0])
}
