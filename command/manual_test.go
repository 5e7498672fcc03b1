package command

import (
	"bytes"
	"io"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/manual"
	"bip324proxy/settings"
)

// output runs the program, which must succeed, and returns its output.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := Run(append([]string{"bip324-proxy"}, args...), &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("%s: exit code %d: %s", args, code, &stderr)
	}
	return stdout.String()
}

// The manual page and every shell's completions have all flags and commands; the page also has all
// variables.
func TestManualIsComplete(t *testing.T) {
	texts := map[string]string{"man": strings.ReplaceAll(output(t, "man"), `\-`, "-")}
	for _, shell := range manual.Shells() {
		texts[shell] = output(t, "completion", shell)
	}
	app := newApp(io.Discard, io.Discard)
	app.Setup()
	flags := app.VisibleFlags()
	for _, c := range app.VisibleCommands() {
		flags = append(flags, c.VisibleFlags()...)
		for in, format := range map[string]string{
			"man": "\n\\fB" + c.Name + `\fR`, "bash": "," + c.Name + ")", "zsh": "'" + c.Name + ":", "fish": "-a " + c.Name + " ",
		} {
			if !strings.Contains(texts[in], format) {
				t.Errorf("the command %s is missing for %s", c.Name, in)
			}
		}
	}
	for _, f := range flags {
		name := f.Names()[0]
		for in, format := range map[string]string{
			"man": `\\fB--` + name + `\\fR`, "bash": "--" + name + "[ ']", "zsh": "--" + name + `[=\[]`, "fish": " -l " + name + " ",
		} {
			if !regexp.MustCompile(format).MatchString(texts[in]) {
				t.Errorf("the flag --%s is missing for %s", name, in)
			}
		}
	}
	for _, f := range settings.Flags() {
		if env := f.(cli.DocGenerationFlag).GetEnvVars()[0]; !strings.Contains(texts["man"], "\n.B "+env+"\n") {
			t.Errorf("the variable %s is missing in the manual page", env)
		}
	}
	for entry := range strings.SplitSeq(texts["man"], "\n.TP\n") {
		if strings.Count(entry, "(default: ") > 1 {
			t.Errorf("two defaults:\n%s", entry)
		}
	}
}

func TestVersion(t *testing.T) {
	defer func() { version = "" }()
	for set, want := range map[string]string{"": `(devel|0\.0\.0-[0-9]+-[0-9a-f]+(\+dirty)?)`, "0.1.0": `0\.1\.0`} {
		version = set // as the linker sets it
		line := regexp.MustCompile("^bip324-proxy version " + want +
			regexp.QuoteMeta(" ("+runtime.GOOS+"/"+runtime.GOARCH+", "+runtime.Version()+")") + "\n$")
		for _, arg := range []string{"version", "--version"} {
			if got := output(t, arg); !line.MatchString(got) {
				t.Errorf("%s: got %q, want %v", arg, got, line)
			}
		}
	}
}
