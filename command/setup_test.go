package command

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/setup"
	"bip324proxy/status"
)

// The lines name the addresses that the running proxy reports, if they can be written into a file.
func TestSetupListen(t *testing.T) {
	for values, want := range map[string]string{
		"127.0.0.1:5555,[::1]:5555":           "127.0.0.1:5555 [::1]:5555",
		"127.0.0.1:0":                         "given",
		"unix:/run/p,name:1":                  "unix:/run/p",
		"unix:/run/p\nrpcallowip=0.0.0.0/0":   "given",
		"127.0.0.1:1\n,[::1%\x1b]:1,nowhere,": "given",
	} {
		var all []any
		for _, v := range strings.Split(values, ",") {
			all = append(all, v)
		}
		report := &status.Report{Settings: []status.Setting{{Name: "allow", Value: []any{"127.0.0.1:1"}}, {Name: "listen", Value: all}}}
		if got := strings.Join(listenOf(report, []string{"given"}), " "); got != want {
			t.Errorf("%q: got %s, want %s", values, got, want)
		}
	}
}

// setup prints the lines for a file that does not exist yet, in JSON as in text, and contacts no
// status page that is not on loopback.
func TestSetup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "btcd.conf")
	listen := testkit.Nobody(t)
	for _, page := range []string{testkit.Nobody(t), "192.0.2.1:1325"} {
		args := []string{"setup", "--listen", listen, "--status", page, "--status-token", "0123456789abcdef", file}
		code, stdout, stderr := runProgram(args...)
		if code != 1 || !strings.Contains(stdout, "Create "+file+" with:\n") || !strings.Contains(stdout, "\n    proxy="+listen+"\n") ||
			!strings.Contains(stdout, listen+": nothing is listening there") || strings.Contains(stdout, "0123456789abcdef") {
			t.Errorf("exit code %d\n%s", code, stdout)
		}
		checkOneLine(t, "setup", stderr, "something is left to do")
		code, stdout, _ = runProgram(append([]string{"setup", "--json"}, args[1:]...)...)
		var report setup.Report
		if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 1 || report.OK || len(report.Parts) != 2 || len(report.Parts[1].Add) != 3 {
			t.Errorf("exit code %d, %v\n%s", code, err, stdout)
		}
	}
}
