package test

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// run runs the proxy to its end and returns its exit code and output.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runProgram(t, binaries.proxy, args...)
}

// runProgram is run for any program.
func runProgram(t *testing.T, path string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%q still ran after %v\n%s%s", args, patience, &out, &errs)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// requireOneLine checks that a user error prints one line that names the culprit.
func requireOneLine(t *testing.T, stderr, culprit string) {
	t.Helper()
	t.Logf("stderr: %s", stderr)
	if strings.Count(strings.TrimSpace(stderr), "\n") != 0 || !strings.Contains(stderr, culprit) {
		t.Errorf("want one line that contains %q, got:\n%s", culprit, stderr)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := run(t, "--listen", l.Addr().String())
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	requireOneLine(t, stderr, l.Addr().String())
}

func TestWrongFlagValue(t *testing.T) {
	t.Parallel()
	for flag, value := range map[string]string{
		"--v1-fallback":     "sometimes",
		"--passthrough":     "perhaps",
		"--grace":           "soon",
		"--connect-timeout": "0.5s",
		"--log-level":       "shout",
		"--log-format":      "poem",
	} {
		t.Run(flag, func(t *testing.T) {
			code, _, stderr := run(t, "--listen", "127.0.0.1:0", flag, value)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			requireOneLine(t, stderr, strings.TrimLeft(flag, "-"))
		})
	}
}

// On SIGTERM the proxy gives a live session the grace period, closes it and exits with code 0.
func TestSIGTERMEndsALiveSession(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not run: Windows has no SIGTERM")
	}
	t.Parallel()
	const grace = 2 * time.Second
	w := newWallet(t, &chaincfg.RegressionNetParams)
	proxy := startProxy(t, "--grace", grace.String())
	node := startBtcdNode(t, w, "--v2transport")
	node.mine(1)
	client := startBtcdClient(t, w.params, proxy.addr, node.p2p)
	catchUp(t, client, node)
	session := proxy.opened(t).Session

	begin := time.Now()
	if err := proxy.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-proxy.done:
	case <-time.After(patience):
		t.Fatalf("the proxy is still running %v after SIGTERM", patience)
	}
	if took := time.Since(begin); took > grace+3*time.Second { // the last message may take up to two seconds
		t.Errorf("the proxy took %v to end, want little more than the grace period of %v", took, grace)
	}
	if code := proxy.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if closed := proxy.closed(t, session); closed.Transport != "v2" {
		t.Errorf("the proxy logged %+v, want transport v2", closed)
	}
}

// `bip324-proxy demo` needs no node: both ends of its two sessions, out and in, report the same session id.
func TestDemo(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "demo")
	if code != 0 {
		t.Fatalf("exit code %d, want 0\n%s%s", code, stdout, stderr)
	}
	seen := map[string]int{}
	for _, id := range regexp.MustCompile(`\b[0-9a-f]{64}\b`).FindAllString(stdout, -1) {
		seen[id]++
	}
	twice := 0
	for _, times := range seen {
		if times >= 2 {
			twice++
		}
	}
	if twice != 2 {
		t.Errorf("%d session ids appear twice, want 2:\n%s", twice, stdout)
	}
}
