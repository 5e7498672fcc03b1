package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The command is a script without an interpreter line, as in a shell. It has the files that `run` was started with, and
// its arguments byte by byte.
func TestRunFiles(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "script")
	reads, want := `printf '%s\n' "$0" "$1"`+"\n", script+"\n\xff\u00e9 \n"
	var files []*os.File
	for fd := 3; fd < 20; fd++ {
		name := filepath.Join(t.TempDir(), "file")
		text := fmt.Sprintf("file %d\n", fd)
		writeFile(t, name, text)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
		reads += fmt.Sprintf("cat /proc/self/fd/%d\n", fd)
		want += text
	}
	writeFile(t, script, reads)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, fence := range []string{"namespace", "seccomp"} {
		cmd := exec.Command(binaries.proxy, "run", "--fence", fence, "--", script, "\xff\u00e9 ")
		cmd.ExtraFiles = files
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() == 125 {
			t.Logf("--fence %s does not work here: %s", fence, &errs)
			continue
		}
		if err != nil || string(out) != want {
			t.Errorf("--fence %s: %v, got %q, want %q\n%s", fence, err, out, want, &errs)
		}
	}
}
