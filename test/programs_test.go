package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. A wait ends as soon as its condition holds; only a failure takes this long.
const patience = 90 * time.Second

// long reports whether tests run in their long forms.
var long = os.Getenv("LONG") != ""

// program is a running program and its output.
type program struct {
	name string
	cmd  *exec.Cmd
	out  *lines
	done chan struct{} // closed when the program has exited and out is complete
}

// start runs a program until the test ends. If the test fails, the program's last lines are logged.
func start(t *testing.T, name, path string, args ...string) *program {
	t.Helper()
	return startIn(t, "", name, path, args...)
}

// startIn is start in a working directory.
func startIn(t *testing.T, dir, name, path string, args ...string) *program {
	t.Helper()
	p := &program{name: name, out: newLines(), done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out // the same writer: os/exec keeps the order
	home := t.TempDir()                       // keeps programs out of the user's home
	p.cmd.Env = append(os.Environ(), "HOME="+home, "LOCALAPPDATA="+home, "APPDATA="+home,
		"GORACE=atexit_sleep_ms=0") // the race detector would delay the exit by a second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait() // ProcessState has the result
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			all := p.out.all()
			t.Logf("last lines of %s (%v):\n%s", name, p.cmd.ProcessState,
				strings.Join(all[max(0, len(all)-40):], "\n"))
		}
	})
	return p
}

// kill kills the program and waits for it.
func (p *program) kill() {
	p.cmd.Process.Kill() // fails only if it has exited already
	<-p.done
}

// awaitLine returns the first line, past or future, that satisfies match.
func (p *program) awaitLine(t *testing.T, what string, match func(line string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for seen := 0; ; {
		more := p.out.more()
		all := p.out.all()
		if i := slices.IndexFunc(all[seen:], match); i >= 0 {
			return all[seen+i]
		}
		seen = len(all)
		select {
		case <-more:
		case <-p.done:
			if len(p.out.all()) == seen {
				t.Fatalf("%s ended (%v) before this: %s", p.name, p.cmd.ProcessState, what)
			}
		case <-ctx.Done():
			t.Fatalf("%s did not do this within %v: %s", p.name, patience, what)
		}
	}
}

// eventually polls until done returns true, for facts that a program reports only on request.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	eventuallyWithin(t, patience, what, done)
}

func eventuallyWithin(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// lines is an io.Writer that splits its input into lines, keeps them, and wakes waiters.
type lines struct {
	mu     sync.Mutex
	rest   []byte // an incomplete line
	ended  []string
	waiter chan struct{} // closed and replaced whenever a line ends
}

func newLines() *lines { return &lines{waiter: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.ended = append(l.ended, strings.TrimRight(string(line), "\r"))
		l.rest = rest
		close(l.waiter)
		l.waiter = make(chan struct{})
	}
}

// all returns the lines so far. They are never modified.
func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended[:len(l.ended):len(l.ended)]
}

// count returns how many lines contain all texts.
func (l *lines) count(texts ...string) (n int) {
	for _, line := range l.all() {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

// more returns a channel that is closed when the next line is complete.
func (l *lines) more() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiter
}

// procStatus returns a number from Linux's /proc/PID/status, sizes in KiB, or 0 on other systems.
func procStatus(pid int, name string) (n int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			fmt.Sscan(rest, &n)
		}
	}
	return n
}

// cpuTime returns the CPU time that a process has used, on Linux.
func cpuTime(pid int) time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third field on, see proc(5)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[14-3])
	system, _ := strconv.Atoi(fields[15-3])
	return time.Duration(user+system) * 10 * time.Millisecond // of USER_HZ, 100 on all of Linux's platforms
}
