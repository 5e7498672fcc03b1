package command

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/term"

	"bip324proxy/internal/pty"
)

// In a terminal, top takes it over until it is told to end, in whatever way, and
// then leaves it as it was.
func TestTopInATerminal(t *testing.T) {
	p := startProgram(t, "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0")
	line := p.nextOf(t, "listening", "status page")
	if line["msg"] != "status page" {
		line = p.nextOf(t, "status page")
	}
	page := line["addr"].(string)
	for name, end := range map[string]func(window *os.File, top *os.Process){
		"q":       func(window *os.File, _ *os.Process) { window.WriteString("q") },
		"Ctrl-C":  func(window *os.File, _ *os.Process) { window.WriteString("\x03") },
		"SIGTERM": func(_ *os.File, top *os.Process) { top.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			window, tty, err := pty.Open(60, 12)
			if err != nil {
				t.Skipf("not run: there are no pseudoterminals here: %v", err)
			}
			defer window.Close()
			defer tty.Close()
			before, err := term.GetState(int(tty.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			var shown screenText
			go io.Copy(&shown, window)
			top := exec.CommandContext(t.Context(), os.Args[0], "top", page)
			top.Env = append(os.Environ(), "TEST_BIP324_PROXY_MAIN=1")
			top.Stdin, top.Stdout, top.Stderr = tty, tty, tty
			if err := top.Start(); err != nil {
				t.Fatal(err)
			}
			shown.await(t, "Nothing to say yet: no connections.")
			shown.await(t, "q to quit")
			end(window, top.Process)
			if err := top.Wait(); err != nil {
				t.Errorf("%v", err)
			}
			shown.await(t, "\x1b[?25h\x1b[?1049l")
			if after, err := term.GetState(int(tty.Fd())); err != nil || *after != *before {
				t.Errorf("the terminal is %+v, was %+v (%v)", after, before, err)
			}
		})
	}
}

// screenText is what was shown.
type screenText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screenText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screenText) await(t *testing.T, what string) {
	t.Helper()
	text := ""
	for range 1000 {
		s.mu.Lock()
		text = s.b.String()
		s.mu.Unlock()
		if strings.Contains(text, what) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %q; shown was %q", what, text)
}
