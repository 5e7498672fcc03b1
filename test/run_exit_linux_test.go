package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// requireRun skips the test unless `bip324-proxy run` can make a network namespace here.
func requireRun(t *testing.T) {
	t.Helper()
	if code, _, stderr := run(t, "run", "--", "true"); code != 0 {
		notRun(t, "bip324-proxy run does not work here: %s", stderr)
	}
}

// The exit code of `run` is the command's, or says why there is none; the error names what is wrong.
func TestRunExitCodes(t *testing.T) {
	t.Parallel()
	requireRun(t)
	dir := t.TempDir()
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lacking := script("lacking", "#!/no/such/interpreter\n", 0o755)
	plain := script("plain", "#!/bin/sh\n", 0o644)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--", "true"}, 0, ""},
		{[]string{"sh", "-c", "exit 1"}, 1, ""},
		{[]string{"--", "sh", "-c", "exit 125"}, 125, ""},
		{[]string{"--", "no-such-command"}, 127, `command "no-such-command" not found`},
		{[]string{"--", dir + "/none"}, 127, dir + "/none does not exist"},
		{[]string{"--", ""}, 127, "the name of the command is empty"},
		{[]string{"--", lacking}, 127, "cannot execute " + lacking + ": the interpreter"},
		{[]string{"--", plain}, 126, "cannot execute " + plain + ": permission denied"},
		{[]string{"--", dir}, 126, "cannot execute " + dir + ": is a directory"},
		{[]string{}, 125, "run needs a command: write bip324-proxy run -- COMMAND"},
		{[]string{"--v1-fallback", "yes", "--", "true"}, 125, `--v1-fallback: "yes" is invalid`},
		{[]string{"--log-file", dir + "/none/log", "--", "true"}, 125, "--log-file: open " + dir + "/none/log"},
		{[]string{"--publish", taken.Addr().String() + "=8332", "--", "true"}, 125, "--publish: cannot listen"},
	} {
		code, stdout, stderr := run(t, append([]string{"run"}, test.args...)...)
		if code != test.code || stdout != "" {
			t.Errorf("%q: got exit code %d, stdout %q; want %d and nothing", test.args, code, stdout, test.code)
		}
		if test.says == "" {
			if stderr != "bip324-proxy: the command made no connection\n" {
				t.Errorf("%q: got stderr %q", test.args, stderr)
			}
		} else {
			requireOneLine(t, stderr, test.says)
		}
	}
}

// Where namespaces are forbidden, the error says what forbids them, and the other way.
func TestRunWithoutNamespaces(t *testing.T) {
	t.Parallel()
	requireRun(t)
	requireInstalled(t, "unshare")
	const forbid = `echo 0 > /proc/sys/user/max_user_namespaces || exit 77; "$0" run -- true` // in the new user namespace only
	out, err := exec.CommandContext(t.Context(), "unshare", "-Ur", "sh", "-c", forbid, binaries.proxy).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 125 || !strings.Contains(string(out), "user.max_user_namespaces is 0; ") || !strings.Contains(string(out), "--fence seccomp") {
		t.Errorf("got %v, %q", err, out)
	}
}

// The warning about Bitcoin Core's private broadcast is for clients that have a proxy setting.
func TestRunWithOnionUpstream(t *testing.T) {
	t.Parallel()
	requireRun(t)
	flags := []string{"run", "--upstream", "*.onion=socks5://" + freeAddr(t)}
	for _, listen := range [][]string{nil, {"--listen", freeAddr(t)}} {
		code, _, stderr := run(t, append(append(slices.Clone(flags), listen...), "--", "true")...)
		if warned := strings.Contains(stderr, "private broadcasts"); code != 0 || warned != (listen != nil) {
			t.Errorf("%q: got exit code %d, %q", listen, code, stderr)
		}
	}
}

// A signal that kills the command ends `run`, too, without a core dump.
func TestRunEndsBySignal(t *testing.T) {
	t.Parallel()
	requireRun(t)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGSEGV, syscall.SIGKILL, syscall.SIGPIPE, 35} {
		cmd := exec.CommandContext(t.Context(), binaries.proxy, "run", "--", "sh", "-c", fmt.Sprintf("kill -%d $$", s))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Run()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != s || status.CoreDump() {
			t.Errorf("%v: ended with %v; stderr:\n%s", s, cmd.ProcessState, &stderr)
		}
	}
}

// The command has the stdin, stdout and stderr of `run`, and a reader of its output sees the end when it does.
func TestRunOutput(t *testing.T) {
	t.Parallel()
	requireRun(t)
	log := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binaries.proxy, "run", "--log-file", log, "--", "sh", "-c", "cat; echo more >&2; exec >&- 2>&-; sleep 1000")
	cmd.Stdin = strings.NewReader("some input")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if _, err := all.ReadFrom(stdout); err != nil || all.String() != "some input" { // it ends while the command runs
		t.Errorf("got stdout %q, %v", &all, err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if ctx.Err() != nil {
		t.Fatalf("the output did not end within %v", patience)
	}
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), `msg="command ended"`) {
		t.Errorf("the log is %q, %v", text, err)
	}
	if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log has the mode %v, %v; want 0600", info.Mode(), err)
	}
}

// A stderr that nobody reads does not end the proxy.
func TestRunClosedStderr(t *testing.T) {
	t.Parallel()
	requireRun(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.CommandContext(t.Context(), binaries.proxy, "run", "--log-level", "debug", "--listen", freeAddr(t), "--", "sh", "-c", "exit 3")
	cmd.Stderr = w
	cmd.Run()
	w.Close()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("ended with %v, want exit code 3", cmd.ProcessState)
	}
}

// Nothing is left running when `run` ends, whatever the reason.
func TestRunLeavesNothing(t *testing.T) {
	t.Parallel()
	requireRun(t)
	mark := "RUN_MARK=" + filepath.Base(t.TempDir()) + t.Name() + fmt.Sprint(os.Getpid())
	for _, args := range [][]string{
		{"--", "true"}, {"--", "no-such-command"}, {"--publish", "127.0.0.1:0=1", "--", "true"}, {"--publish", "127.0.0.1:0=1", "--", "/"},
		{"--publish", "127.0.0.1:0=1", "--", "sh", "-c", "kill -9 $$"}, {"--fence", "seccomp", "--", "true"},
	} {
		cmd := exec.CommandContext(t.Context(), binaries.proxy, append([]string{"run"}, args...)...)
		cmd.Env = append(os.Environ(), mark)
		cmd.Run()
		eventually(t, fmt.Sprintf("nothing is left of %q", args), func() bool { return len(processesWith(t, mark)) == 0 })
	}
}

// processesWith returns the processes that have the variable in their environment.
func processesWith(t *testing.T, variable string) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(variable)) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}
