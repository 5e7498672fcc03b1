package test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// inQuietNamespace calls f in namespaces in which no address of 203.0.113.0/24 listens. When it ends, no process may
// be left, and so no namespace.
func inQuietNamespace(t *testing.T, f func()) {
	t.Helper()
	requireInstalled(t, "setpriv", python)
	if !namespace(t, syscall.CLONE_NEWPID) {
		return
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		notRun(t, "mounting /proc is not allowed here: %v", err)
	}
	command(t, "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo")
	f()
	var left []string
	defer func() {
		if len(left) > 0 {
			t.Logf("these are left: %q", left)
		}
	}()
	eventually(t, "no process is left", func() bool {
		left = nil
		entries, err := os.ReadDir("/proc")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name, err := os.ReadFile("/proc/" + e.Name() + "/comm")
			if pid, number := strconv.Atoi(e.Name()); err == nil && number == nil && pid != os.Getpid() {
				left = append(left, e.Name()+" "+strings.TrimSpace(string(name)))
			}
		}
		return len(left) == 0
	})
}

// Ten thousand connections at once: nothing hangs, and each that cannot be made is reset.
func TestRunManyConnections(t *testing.T) {
	t.Parallel()
	inQuietNamespace(t, func() {
		count := 10000
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		count = min(count, int(min(limit.Max, 1<<20))-100)
		for name, uid := range map[string]int{"root": 0, "ordinary user": ordinaryUser} {
			t.Run(name, func(t *testing.T) {
				_, code, out := runOnce(t, uid, nil, []string{"--max-sessions=1000"}, python, copyTo(t, dirOf(t, uid), "testdata/direct/many.py"), fmt.Sprint(count))
				if want := fmt.Sprintf("{'reset': %d}\n", count); code != 0 || string(out) != want {
					t.Errorf("exit code %d, got %q, want %q", code, out, want)
				}
			})
		}
	})
}

// A command that takes all ports gets an error from its own system; nothing hangs.
func TestRunAllPortsTaken(t *testing.T) {
	t.Parallel()
	inQuietNamespace(t, func() {
		_, code, out := runOnce(t, 0, nil, nil, python, "testdata/direct/ports.py")
		if want := "EADDRNOTAVAIL\nECONNRESET\n"; code != 0 || string(out) != want {
			t.Errorf("exit code %d, got %q, want %q", code, out, want)
		}
	})
}

// The namespace has an IPv6 address besides loopback, so that resolvers look up IPv6 addresses, only if the machine
// reaches such.
func TestRunIPv6Address(t *testing.T) {
	t.Parallel()
	inQuietNamespace(t, func() {
		addresses := func() string {
			_, _, out := runOnce(t, ordinaryUser, nil, nil, "ip", "-6", "-o", "address")
			return string(out)
		}
		if out := addresses(); !strings.Contains(out, " ::1/128 ") || strings.Contains(out, " 2001:2::1/128 ") {
			t.Errorf("without IPv6: %s", out)
		}
		command(t, "ip", "-6", "route", "add", "default", "dev", "lo")
		if out := addresses(); !strings.Contains(out, " 2001:2::1/128 ") {
			t.Errorf("with IPv6: %s", out)
		}
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		if out := addresses(); strings.Contains(out, " 2001:2::1/128 ") {
			t.Errorf("with IPv6 off: %s", out)
		}
	})
}

// Where no namespace is allowed, run says what forbids it, and does not start the command.
func TestRunForbidden(t *testing.T) {
	t.Parallel()
	inQuietNamespace(t, func() {
		for _, kind := range []string{"user", "net", "mnt"} {
			setting := "max_" + kind + "_namespaces"
			out, err := exec.Command("unshare", "-Ur", "sh", "-c", `echo 0 >/proc/sys/user/$1; exec "$2" run -- echo started`, "sh", setting, binaries.proxy).CombinedOutput()
			exit, ok := err.(*exec.ExitError)
			if !ok || exit.ExitCode() != 125 || !strings.Contains(string(out), "user."+setting+" is 0; as root, write: sysctl -w user."+setting+"=") || strings.Contains(string(out), "started") {
				t.Errorf("%s: %v\n%s", setting, err, out)
			}
		}
	})
}

// Signals that are ignored in the background, and under nohup(1), are ignored by the command.
func TestRunIgnoredSignals(t *testing.T) {
	t.Parallel()
	inQuietNamespace(t, func() {
		for _, fence := range []string{"namespace", "seccomp"} {
			out, err := exec.Command("sh", "-c", `trap "" HUP INT; exec "$@"`, "sh", binaries.proxy, "run", "--fence", fence, "--", "grep", "SigIgn", "/proc/self/status").Output()
			if err != nil || !strings.HasSuffix(string(out), "0003\n") {
				t.Errorf("%s: %v, %q", fence, err, out)
			}
		}
	})
}
