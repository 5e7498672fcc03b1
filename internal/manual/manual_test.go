package manual

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Any text in a definition stays text: man and the shells interpret none of it.
func TestHostileDefinitions(t *testing.T) {
	const text = `'it's a "[:\$HOME:]" $(false) \n .PP`
	app := &cli.App{
		Name: "a-b", Usage: text,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "path", Aliases: []string{"p"}, Usage: "`FILE` " + text, Value: "it's"},
			&cli.StringSliceFlag{Name: "many", Usage: text},
			&cli.BoolFlag{Name: "hidden", Hidden: true},
		},
		Commands: []*cli.Command{
			{Name: "read", ArgsUsage: "FILE", Usage: text, Description: text, Flags: []cli.Flag{&cli.BoolFlag{Name: "quick", Usage: text}}},
			{Name: "secret", Hidden: true},
		},
	}
	app.Setup()
	var page bytes.Buffer
	if err := Page(&page, app); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page.String()) {
		if strings.Contains(line, "HOME") && (strings.HasPrefix(line, "'") || !strings.Contains(line, `\(aqit\(aqs a "[:\e$HOME:]" $(false) \en .PP`)) {
			t.Errorf("the manual page has %q", line)
		}
	}
	checkSilent(t, page.String(), "groff", "-man", "-ww", "-z")
	for _, shell := range Shells() {
		var script bytes.Buffer
		if err := Completion(&script, app, Words{"--many": {"one", "two"}}, shell); err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{"secret", "hidden"} {
			if strings.Contains(script.String(), hidden) || strings.Contains(page.String(), hidden) {
				t.Errorf("%s is shown", hidden)
			}
		}
		checkSilent(t, script.String(), shell, "-n")
	}
	if err := Completion(new(bytes.Buffer), app, nil, "csh"); err == nil {
		t.Error("csh: want an error")
	}
}

// checkSilent runs a program, if it is installed, that must succeed without output.
func checkSilent(t *testing.T, input, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Logf("not run: %s is not installed", program)
		return
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v\n%s", program, err, out)
	}
}
