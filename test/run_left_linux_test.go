package test

import "testing"

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
