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

// What a program holds is seen on Linux: its descriptors in /proc, its goroutines in what Go prints on SIGQUIT.

// requireFreed proves that nothing is left of all sessions a second after the last: the program has the descriptors
// and the goroutines of one that never had a session. It ends the program.
func (u *under) requireFreed(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Log("not run: what the program holds is counted on Linux only")
		return
	}
	if t.Failed() {
		return // so that the log's last lines are shown, and not goroutines
	}
	<-time.After(time.Second)
	fresh := startUnder(t, u.flags...)
	if n, want := u.openFiles(), fresh.openFiles(); n != want {
		t.Errorf("%d descriptors, %d in a program that never had a session", n, want)
	}
	stacks, want := u.goroutines(t), fresh.goroutines(t)
	if len(stacks) != len(want) {
		t.Errorf("%d goroutines, %d in a program that never had a session:\n%s", len(stacks), len(want), strings.Join(stacks, "\n"))
	}
}

// openFiles counts the program's open files and sockets.
func (u *under) openFiles() int { return openFiles(strconv.Itoa(u.pid)) }

// openFiles leaves out pipes: net keeps those it splices with for the next time, until the garbage collector comes.
func openFiles(pid string) (n int) {
	links, _ := filepath.Glob(filepath.Join("/proc", pid, "fd", "*"))
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && !strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// goroutines ends the program and returns what it says of each that is not the runtime's own.
func (u *under) goroutines(t *testing.T) (stacks []string) {
	t.Helper()
	u.quit.Store(true)
	u.program.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-u.program.done:
	case <-time.After(patience):
		t.Fatalf("the program does not end on SIGQUIT")
	}
	for _, text := range strings.Split(strings.Join(u.program.out.all(), "\n"), "\n\n") {
		if goroutine.MatchString(text) && !strings.Contains(text, "\ncreated by runtime.") {
			stacks = append(stacks, text)
		}
	}
	if len(stacks) == 0 {
		t.Fatal("the program did not say what its goroutines do")
	}
	return stacks
}

var goroutine = regexp.MustCompile(`(?m)^goroutine [1-9]\d* `)
