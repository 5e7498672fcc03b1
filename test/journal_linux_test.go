package test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// journalStream returns systemd's value of JOURNAL_STREAM for f as the journal.
func journalStream(t *testing.T, f *os.File) string {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino)
}

// journalOf runs the proxy with the environment variable that variable returns, until it exits or logs stopAt, and
// returns its lines.
func journalOf(t *testing.T, variable func(w *os.File) string, stopAt string, args ...string) (lines []string) {
	t.Helper()
	r, w := pipe(t)
	cmd := exec.Command(binaries.proxy, args...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", variable(w))
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	for in := bufio.NewScanner(r); in.Scan(); {
		lines = append(lines, in.Text())
		if strings.Contains(in.Text(), stopAt) {
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	cmd.Wait()
	return lines
}

// Log lines for systemd's journal begin with their priority and have no time; where stderr is not the journal they are
// unchanged, whatever the environment says.
func TestJournal(t *testing.T) {
	t.Parallel()
	elsewhere, _ := pipe(t)
	isJournal := func(w *os.File) string { return journalStream(t, w) }
	notJournal := []func(*os.File) string{
		func(*os.File) string { return journalStream(t, elsewhere) },
		func(*os.File) string { return "JOURNAL_STREAM=" },
		func(w *os.File) string { return journalStream(t, w) + "0" },
		func(*os.File) string { return "JOURNAL_STREAM=1" },
	}
	exposed := t.TempDir() + "/auth"
	if err := os.WriteFile(exposed, []byte("user:password"), 0o644); err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{"text": `^<[3467]>level=`, "json": `^<[3467]>\{"level":`} {
		args := []string{"--listen", "127.0.0.1:0", "--auth-file", exposed, "--log-level", "debug", "--log-format", format}
		lines := journalOf(t, isJournal, "listening", args...)
		for _, line := range lines {
			if !regexp.MustCompile(want).MatchString(line) || strings.Contains(line, "time=") || strings.Contains(line, `"time"`) {
				t.Errorf("%s: got line %q, want %s", format, line, want)
			}
		}
		for _, prefix := range []string{"<6>", "<4>"} {
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, prefix) }) {
				t.Errorf("%s: no line has the priority %s: %q", format, prefix, lines)
			}
		}
		for _, variable := range notJournal {
			for _, line := range journalOf(t, variable, "listening", args...) {
				if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, `{"time":`) {
					t.Errorf("elsewhere: unexpected line %q", line)
				}
			}
		}
	}
}

// Errors that end the program before the log is set up have a priority, too, and fit on one line.
func TestJournalOfErrors(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, args := range [][]string{
		{"--v1-fallback", "sometimes"},
		{"--no-such-flag"},
		{"--config", "/no/such\n<0>file"},
		{"--auth-file", "/no/such\n\x1b[2J<0>file"},
		{"--listen", l.Addr().String()},
		{"check", "--listen", "nowhere"},
	} {
		lines := journalOf(t, func(w *os.File) string { return journalStream(t, w) }, "nothing", args...)
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "<3>bip324-proxy: ") || strings.Contains(lines[0], "\x1b") {
			t.Errorf("%q: unexpected lines %q", args, lines)
		}
		lines = journalOf(t, func(*os.File) string { return "JOURNAL_STREAM=0:0" }, "nothing", args...)
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "bip324-proxy: ") {
			t.Errorf("elsewhere, %q: unexpected lines %q", args, lines)
		}
	}
}
