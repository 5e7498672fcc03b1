package test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// On Linux the test reads a program's descriptors from /proc and its goroutines from what Go prints on SIGQUIT.

// requireFreed checks that a second after the last session the program has as many descriptors and goroutines as one
// that never had a session. It ends the program.
func (u *under) requireFreed(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Log("not run: descriptors and goroutines are counted on Linux only")
		return
	}
	if t.Failed() {
		return // show the log's last lines instead of goroutines
	}
	<-time.After(time.Second)
	fresh := startUnder(t, u.flags...)
	if n, want := u.openFiles(), fresh.openFiles(); n != want {
		t.Errorf("got %d descriptors, want %d as in a program that never had a session", n, want)
	}
	stacks, want := u.goroutines(t), fresh.goroutines(t)
	if len(stacks) != len(want) {
		t.Errorf("got %d goroutines, want %d as in a program that never had a session:\n%s", len(stacks), len(want), strings.Join(stacks, "\n"))
	}
}

// openFiles counts the program's open files and sockets.
func (u *under) openFiles() int { return openFiles(strconv.Itoa(u.pid)) }

// openFiles skips pipes: net pools those that it splices with until the next garbage collection.
func openFiles(pid string) (n int) {
	links, _ := filepath.Glob(filepath.Join("/proc", pid, "fd", "*"))
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && !strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// goroutines ends the program and returns the stack of each goroutine that is not the runtime's.
func (u *under) goroutines(t *testing.T) (stacks []string) {
	t.Helper()
	u.quit.Store(true)
	u.program.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-u.program.done:
	case <-time.After(patience):
		t.Fatalf("the program is still running after SIGQUIT")
	}
	for _, text := range strings.Split(strings.Join(u.program.out.all(), "\n"), "\n\n") {
		if goroutine.MatchString(text) && !strings.Contains(text, "\ncreated by runtime.") {
			stacks = append(stacks, text)
		}
	}
	if len(stacks) == 0 {
		t.Fatal("the program did not print its goroutines")
	}
	return stacks
}

var goroutine = regexp.MustCompile(`(?m)^goroutine [1-9]\d* `)
