package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// However run ends, its namespaces end, too: with a limit of 10 of each kind, 30 runs in a row work.
func TestRunLeavesNoNamespace(t *testing.T) {
	t.Parallel()
	requireRun(t)
	requireInstalled(t, "unshare")
	for ends, command := range map[string]string{
		"command ends":        "true",
		"command not started": "/",
		"command killed":      "sh -c 'kill -9 $$'",
		"proxy killed":        "sh -c 'kill -9 $PPID'",
	} {
		t.Run(ends, func(t *testing.T) {
			// The kernel counts a namespace for a moment after its end.
			script := `exec 2>/dev/null # where the shell tells who was killed
				for kind in user net mnt; do echo 10 >/proc/sys/user/max_${kind}_namespaces || exit; done
				for i in $(seq 30); do
					for try in $(seq 100); do
						"$0" run --publish 127.0.0.1:0=1 -- ` + command + ` 2>&1 | grep -q 'a limit for namespaces' || break
						sleep 0.1
					done
					[ $try -lt 100 ] || { echo "run number $i still has no namespace"; exit 1; }
				done`
			if code, stdout, _ := runProgram(t, "unshare", "--user", "--map-root-user", "sh", "-c", script, binaries.proxy); code != 0 || stdout != "" {
				t.Errorf("exit code %d\n%s", code, stdout)
			}
		})
	}
}

// --fence auto takes a namespace where it may, seccomp where it may not, and says which.
func TestRunFenceAuto(t *testing.T) {
	t.Parallel()
	requireRun(t)
	requireInstalled(t, "unshare")
	for limit, want := range map[string]string{"100": "in a network namespace", "0": "by seccomp, which does not stop a program that tries to bypass it"} {
		const script = `echo $1 >/proc/sys/user/max_user_namespaces && readlink /proc/self/ns/net &&
			exec "$0" run --fence auto --log-file "$2" -- sh -c 'readlink /proc/self/ns/net; exit 3'`
		log := filepath.Join(t.TempDir(), "log")
		code, stdout, stderr := runProgram(t, "unshare", "--user", "--map-root-user", "sh", "-c", script, binaries.proxy, limit, log)
		text, err := os.ReadFile(log)
		if code != 3 || err != nil || !strings.Contains(string(text), "connections are redirected "+want) {
			t.Errorf("with at most %s user namespaces: exit code %d, %q, log %q", limit, code, stderr, text)
		}
		namespaces := strings.Fields(stdout)
		if same := len(namespaces) == 2 && namespaces[0] == namespaces[1]; same != (limit == "0") {
			t.Errorf("with at most %s user namespaces: the proxy and its command are in %q", limit, namespaces)
		}
	}
}
