package test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// A namespace of run can be entered by root, and by the user who has started it.
func TestRunEntered(t *testing.T) {
	t.Parallel()
	requireInstalled(t, "nsenter")
	inQuietNamespace(t, func() {
		for name, uid := range map[string]int{"root": 0, "ordinary user": ordinaryUser} {
			t.Run(name, func(t *testing.T) {
				r := startRun(t, uid, nil, "sh", "-c", "echo $$; exec sleep 1000")
				pid := r.awaitLine(t, "its PID", func(line string) bool { _, err := strconv.Atoi(line); return err == nil })
				id := strconv.Itoa(uid)
				for _, as := range []string{"0", id} {
					enter := []string{"--reuid=" + as, "--regid=" + as, "--clear-groups", "nsenter", "--net", "--user", "--preserve-credentials", "--target", pid}
					cmd := exec.Command("setpriv", append(enter, "ip", "address")...)
					cmd.Stderr = os.Stderr
					if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "198.18.0.1") {
						t.Errorf("as user %s: %v, %s", as, err, out)
					}
				}
			})
		}
	})
}
