package test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// In a terminal, status --watch overwrites its previous output; where it must not, or is told not to, it sends no
// control sequences or no colors. Ctrl-C or a signal ends it.
func TestWatchInTerminal(t *testing.T) {
	t.Parallel()
	p := startInTerminal(t, false, false, binaries.proxy)
	const answer = "Nothing to say yet: no connections."
	for name, c := range map[string]struct {
		env   string
		first string // prefix of the first line
		again string // prefix of the second output
		color bool
		end   func(window *os.File, watch *os.Process)
	}{
		"Ctrl-C":   {"TERM=xterm", "\x1b[H\x1b[KIs my", "\x1b[J\x1b[H\x1b[KIs my", true, func(window *os.File, _ *os.Process) { window.WriteString("\x03") }},
		"SIGTERM":  {"NO_COLOR=1", "\x1b[H\x1b[KIs my", "\x1b[J\x1b[H\x1b[KIs my", false, func(_ *os.File, watch *os.Process) { watch.Signal(syscall.SIGTERM) }},
		"terminal": {"TERM=dumb", "Is my", "\r\n\r\nIs my", false, func(window *os.File, _ *os.Process) { window.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			window, tty, err := openTerminal(60, 12)
			if err != nil {
				notRun(t, "pseudoterminals are unavailable: %v", err)
			}
			defer window.Close()
			var shown lockedBuffer
			go io.Copy(&shown, window)
			watch := exec.CommandContext(t.Context(), binaries.proxy, "status", "--watch", p.page)
			watch.Env = append(os.Environ(), "TERM=xterm", c.env)
			watch.Stdin, watch.Stdout, watch.Stderr = tty, tty, tty
			watch.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			err = watch.Start()
			tty.Close()
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the status is shown again", func() bool { return strings.Contains(shown.String(), c.again) })
			text := shown.String()
			if !strings.HasPrefix(text, c.first) || !strings.Contains(text, answer) || strings.Contains(text, "\x1b[33m"+answer+"\x1b[0m") != c.color {
				t.Errorf("unexpected output %q", text)
			}
			if c.env == "TERM=dumb" && strings.Contains(text, "\x1b") {
				t.Errorf("unexpected output to a dumb terminal: %q", text)
			}
			c.end(window, watch.Process)
			if err := watch.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *lockedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *lockedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
