package test

import (
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// screen is a program in a terminal, and what it has written there.
type screen struct {
	cmd    *exec.Cmd
	window *os.File
	*lines
}

// startOnScreen starts a program as the leader of a terminal's session.
func startOnScreen(t *testing.T, command ...string) *screen {
	t.Helper()
	window, tty, err := openTerminal(80, 24)
	if err != nil {
		notRun(t, "pseudoterminals are unavailable: %v", err)
	}
	defer tty.Close()
	s := &screen{cmd: exec.Command(command[0], command[1:]...), window: window, lines: newLines()}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.Env = append(os.Environ(), "PS1=prompt> ", "TERM=dumb")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(s.lines, window)
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		window.Close()
		if t.Failed() {
			t.Logf("the screen:\n%s", strings.Join(s.all(), "\n"))
		}
	})
	return s
}

// write types text.
func (s *screen) write(text string) { io.WriteString(s.window, text) }

// await waits for text on the screen.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	eventually(t, text+" on the screen", func() bool { return s.count(text) > 0 })
}

// count returns how often text is on the screen.
func (s *screen) count(text string) int { return strings.Count(strings.Join(s.all(), "\n"), text) }

// Ctrl-C reaches the command once; other signals that are sent to `run` reach it, too.
func TestRunSignals(t *testing.T) {
	t.Parallel()
	requireRun(t)
	s := startOnScreen(t, binaries.proxy, "run", "--", "sh", "-c",
		`for s in HUP INT QUIT USR1 USR2 WINCH; do trap "echo got $s" $s; done; trap 'echo got TERM; exit 7' TERM
		 echo ready; while :; do sleep 0.05; done`)
	s.await(t, "ready")
	s.write("\x03")
	s.await(t, "got INT")
	s.write("\x1c")
	s.await(t, "got QUIT")
	for _, each := range []struct {
		name string
		sig  syscall.Signal
	}{{"HUP", syscall.SIGHUP}, {"USR1", syscall.SIGUSR1}, {"USR2", syscall.SIGUSR2}, {"TERM", syscall.SIGTERM}} {
		s.cmd.Process.Signal(each.sig)
		s.await(t, "got "+each.name)
	}
	s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("ended with %v, want exit code 7", s.cmd.ProcessState)
	}
	for _, name := range []string{"INT", "QUIT", "HUP", "USR1", "USR2", "TERM"} {
		if n := s.count("got " + name); n != 1 {
			t.Errorf("the command got SIG%s %d times, want once", name, n)
		}
	}
}

// Without a terminal, SIGINT and SIGQUIT reach the command, too.
func TestRunSignalsWithoutTerminal(t *testing.T) {
	t.Parallel()
	requireRun(t)
	for name, sig := range map[string]syscall.Signal{"INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT} {
		p := start(t, "run", "setsid", "-w", binaries.proxy, "run", "--", "sh", "-c", "trap 'echo got "+name+"; exit 9' "+name+"; echo $PPID; while :; do sleep 0.05; done")
		line := p.awaitLine(t, "the process id", func(string) bool { return true })
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(pid, sig)
		p.awaitLine(t, "SIG"+name, func(line string) bool { return line == "got "+name })
		<-p.done
		if code := p.cmd.ProcessState.ExitCode(); code != 9 {
			t.Errorf("SIG%s: ended with %v, want exit code 9", name, p.cmd.ProcessState)
		}
	}
}

// Ctrl-Z stops `run` with its command, and fg and bg continue both.
func TestRunJobControl(t *testing.T) {
	t.Parallel()
	requireRun(t)
	requireInstalled(t, "bash")
	s := startOnScreen(t, "bash", "--norc", "--noprofile", "-i")
	s.write("set +o emacs; stty -echo; echo shell=$((3-2))\n")
	s.await(t, "shell=1")
	s.write("'" + binaries.proxy + "' run -- sed -u s/^/got:/\n")
	s.write("one\n")
	s.await(t, "got:one")
	s.write("\x1a")
	s.await(t, "Stopped")
	s.write("echo in=$((1+1))\n")
	s.await(t, "in=2")
	s.write("fg\n")
	s.write("two\n")
	s.await(t, "got:two")
	s.write("\x04")
	s.write("echo code:$?\n")
	s.await(t, "code:0")

	// In the background the summary is written even if the terminal stops programs that write there.
	s.write("stty tostop; '" + binaries.proxy + "' run -- true & wait; echo waited:$?\n")
	s.await(t, "waited:0")
}
