package test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inTerminal is a proxy that runs in a terminal.
type inTerminal struct {
	cmd    *exec.Cmd
	window *os.File // closing it closes the terminal
	page   string
	ended  chan struct{}
}

// startInTerminal runs the proxy like a program in a terminal, in a new session. stdin and stderr select which of the
// two are the terminal.
func startInTerminal(t *testing.T, stdin, stderr bool, command ...string) *inTerminal {
	t.Helper()
	window, tty, err := openTerminal(80, 24)
	if err != nil {
		notRun(t, "pseudoterminals are unavailable: %v", err)
	}
	t.Cleanup(func() { window.Close() })
	defer tty.Close()
	p := &inTerminal{window: window, page: freeAddr(t), ended: make(chan struct{})}
	p.cmd = exec.Command(command[0], append(command[1:], "--listen", freeAddr(t), "--status", p.page, "--grace", "0")...)
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	p.cmd.ExtraFiles = []*os.File{tty}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	if stdin {
		p.cmd.Stdin = tty
	}
	if stderr {
		p.cmd.Stderr = tty
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	eventually(t, "the proxy listens", func() bool { return askHealth(p.page) == "ok\n" })
	return p
}

// requireEnd checks that the proxy exits with code 0.
func (p *inTerminal) requireEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
		if !p.cmd.ProcessState.Success() {
			t.Errorf("the proxy ended with %v, want exit code 0", p.cmd.ProcessState)
		}
	case <-time.After(patience / 3):
		t.Error("the proxy is still running")
	}
}

// requireLife checks that the proxy keeps running.
func (p *inTerminal) requireLife(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
		t.Fatalf("the proxy ended: %v", p.cmd.ProcessState)
	case <-time.After(300 * time.Millisecond):
	}
	if health := askHealth(p.page); health != "ok\n" {
		t.Errorf("unexpected /readyz %q", health)
	}
}

// A proxy exits when its terminal closes, whether or not stdin or stderr is that terminal, and saves its known peers.
func TestTerminalCloses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ stdin, stderr bool }{
		"all": {true, true}, "stdin": {true, false}, "stderr": {false, true}, "neither": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peersFile := filepath.Join(t.TempDir(), "peers")
			p := startInTerminal(t, c.stdin, c.stderr, binaries.proxy, "--known-peers", peersFile)
			p.window.Close()
			p.requireEnd(t)
			if _, err := os.Stat(peersFile); err != nil {
				t.Error(err)
			}
		})
	}
}

// Some shells send SIGHUP when they exit, before their terminal closes. If neither stdin nor stderr is the terminal,
// SIGHUP reloads while the terminal exists.
func TestHangupInTerminal(t *testing.T) {
	t.Parallel()
	p := startInTerminal(t, true, true, binaries.proxy)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.requireEnd(t)

	p = startInTerminal(t, false, false, binaries.proxy)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.requireLife(t)
	p.window.Close()
	p.requireEnd(t)
}

// With nohup, SIGHUP is ignored, and the proxy outlives its terminal.
func TestNohup(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	p := startInTerminal(t, true, true, "/bin/sh", "-c", `trap "" HUP; exec "$@" 2>"$0"`, path, binaries.proxy)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.window.Close()
	p.requireLife(t)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.requireEnd(t)
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "reload") || !strings.Contains(string(text), "signal=terminated") {
		t.Errorf("unexpected log:\n%s%v", text, err)
	}
}

// Only in a terminal does the log mention a second Ctrl-C.
func TestCtrlCInTerminal(t *testing.T) {
	t.Parallel()
	const again = "press Ctrl-C again"
	p := startInTerminal(t, true, true, binaries.proxy)
	var shown lockedBuffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&shown, p.window)
	}()
	p.window.WriteString("\x03")
	p.requireEnd(t)
	<-read
	if !strings.Contains(shown.String(), again) {
		t.Errorf("unexpected log:\n%s", shown.String())
	}

	path := filepath.Join(t.TempDir(), "log")
	p = startInTerminal(t, false, false, "/bin/sh", "-c", `exec "$@" 2>"$0"`, path, binaries.proxy)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.requireEnd(t)
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), again) || !strings.Contains(string(text), `msg="shutting down" `) {
		t.Errorf("unexpected log:\n%s%v", text, err)
	}
}
