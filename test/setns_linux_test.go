package test

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// sysSetns is the number of setns(2), which package syscall lacks.
var sysSetns = map[string]uintptr{"amd64": 308, "386": 346, "arm64": 268, "arm": 375}[runtime.GOARCH]

// inNetwork calls f on an OS thread in the named network namespace. f must stay on that thread.
func inNetwork(t *testing.T, name string, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	other, err := os.Open("/run/netns/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	enter := func(ns *os.File) {
		if _, _, err := syscall.RawSyscall(sysSetns, ns.Fd(), syscall.CLONE_NEWNET, 0); err != 0 {
			panic(err)
		}
	}
	enter(other)
	defer enter(own)
	f()
}
