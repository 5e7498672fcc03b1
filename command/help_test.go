package command

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"bip324proxy/settings"
)

// helpApp returns the program's definition as its help shows it.
func helpApp() *cli.App {
	app := newApp(io.Discard, io.Discard)
	app.Setup()
	return app
}

// hasFlag reports whether a help has exactly one entry about f.
func hasFlag(help string, f cli.Flag) bool {
	entry := regexp.MustCompile(`(?m)^  (-[a-z], )?--` + f.Names()[0] + ` `)
	return len(entry.FindAllString(help, -1)) == 1
}

// No line of any help is wider than a terminal of 80 columns, none is cut before a default, and none
// ends with spaces.
func TestHelpFits(t *testing.T) {
	all := [][]string{{"--help"}, {"help"}}
	for _, c := range helpApp().Commands {
		all = append(all, []string{c.Name, "--help"}, []string{"help", c.Name})
	}
	for _, f := range settings.Flags() {
		all = append(all, []string{"help", f.Names()[0]})
	}
	for _, args := range all {
		text := output(t, args...)
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 || strings.HasSuffix(line, "(default:\n") || strings.HasSuffix(line, " \n") {
				t.Errorf("%s: line %q", args, line)
			}
		}
		if !strings.Contains("\n"+text, "\nUsage: bip324-proxy ") {
			t.Errorf("%s: prints\n%s", args, text)
		}
	}
}

// The help of the program has every command and setting once, with its default, in a group.
func TestHelpIsComplete(t *testing.T) {
	help := output(t, "help")
	if flag := output(t, "--help"); flag != help {
		t.Errorf("--help and help differ:\n%s\n%s", flag, help)
	}
	unfolded := strings.Join(strings.Fields(help), " ")
	for _, f := range append(settings.Flags(), cli.HelpFlag, cli.VersionFlag) {
		name := f.Names()[0]
		if !hasFlag(help, f) {
			t.Errorf("the help does not have --%s once", name)
		}
		preset := f.(cli.DocGenerationFlag).GetDefaultText()
		if groupOf(f) != "" && preset != "" && preset != "false" && !strings.Contains(unfolded, "(default: "+preset+")") {
			t.Errorf("the help lacks the default of --%s, %s", name, preset)
		}
	}
	for _, c := range helpApp().Commands {
		if strings.Contains(help, "\n  "+c.Name+" ") == c.Hidden {
			t.Errorf("the command %s is in the help: %v; hidden: %v", c.Name, !c.Hidden, c.Hidden)
		}
	}
	for _, words := range []string{"\nClients:\n  --listen ADDRESS ", "\nPeers:\n  --upstream [PATTERN=]URL", "BIP324_PROXY_V1_FALLBACK", "bip324-proxy --upstream socks5://127.0.0.1:9050 "} {
		if !strings.Contains(help, words) {
			t.Errorf("the help lacks %q", words)
		}
	}
}

// The help of a setting has all of its texts.
func TestHelpOfSettings(t *testing.T) {
	want := `Usage: bip324-proxy --v1-fallback WHERE

WHERE peers without v2 may get plaintext v1: never, overlay (.onion, CJDNS) or
always. overlay is where the network encrypts: .onion through a local Tor, and
CJDNS.

  default                   never
  in the environment        BIP324_PROXY_V1_FALLBACK
  in the --config file      v1-fallback
`
	for _, name := range []string{"v1-fallback", "--v1-fallback", "-v1-fallback", "--v1-fallback=never", "BIP324_PROXY_V1_FALLBACK"} {
		if got := output(t, "help", name); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// The help of a command has its own flags before the settings that matter to it.
func TestHelpOfCommands(t *testing.T) {
	app := helpApp()
	for _, c := range app.Commands {
		help := output(t, c.Name, "--help")
		if c.Name == "help" {
			help = output(t, "help", "help")
		} else if of := output(t, "help", c.Name); of != help {
			t.Errorf("help %s prints\n%s%s --help prints\n%s", c.Name, of, c.Name, help)
		}
		if c.Usage == "" {
			t.Errorf("%s: its help does not say what it is for", c.Name)
		}
		own, others, _ := strings.Cut(help, "\nSettings")
		accepts := 0
		for _, f := range append(slices.Clone(c.Flags), cli.HelpFlag) {
			isOwn, isListed := hasFlag(own, f), hasFlag(others, f)
			if isSetting := groupOf(f) != ""; isOwn == isSetting || isListed != slices.Contains(relevant[c.Name], f.Names()[0]) {
				t.Errorf("%s: --%s is not where it belongs:\n%s", c.Name, f.Names()[0], help)
			}
			if groupOf(f) != "" {
				accepts++
			}
		}
		if refers := strings.Contains(help, "settings are accepted, too; bip324-proxy --help lists them"); refers != (accepts > 0) {
			t.Errorf("%s: accepts %d settings; its help is\n%s", c.Name, accepts, help)
		}
	}
	for _, args := range [][]string{{"check", "--help", "node.example:8333"}, {"check", "-h", "--frobnicate"}, {"--help", "check"}, {"check", "--v1", "-help"}} {
		if got := output(t, args...); got != output(t, "help", "check") {
			t.Errorf("%s: prints\n%s", args, got)
		}
	}
	for name, listed := range relevant {
		c := app.Command(name)
		for _, setting := range listed {
			if c == nil || flagNamed(c.Flags, setting) == nil {
				t.Errorf("%s does not accept --%s", name, setting)
			}
		}
	}
}
