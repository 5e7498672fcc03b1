package command

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/terminal"
	"bip324proxy/settings"
)

const (
	helpWidth  = 80 // columns of the narrowest usual terminal
	helpIndent = 28 // columns before the text about a flag
)

// The library calls printHelp for --help.
func init() { cli.HelpPrinter = printHelp }

func helpCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "help",
		ArgsUsage: "[NAME]",
		Usage:     "show this help, or that of a command or setting",
		Action: func(c *cli.Context) error {
			name, err := onlyArgument(c)
			if err != nil {
				return err
			}
			if name == "" {
				printHelp(c.App.Writer, "", c.App)
				return nil
			}
			if of := c.App.Command(name); of != nil {
				printHelp(c.App.Writer, "", of)
				return nil
			}
			names := commandNames(c.App)
			for _, f := range settings.Flags() {
				variables := f.(cli.DocGenerationFlag).GetEnvVars()
				if names = append(names, f.Names()...); f.Names()[0] == name || slices.Contains(variables, name) {
					printHelp(c.App.Writer, "", f)
					return nil
				}
			}
			if having := commandsWith(c.App, name); len(having) > 0 {
				return usageError{fmt.Errorf("help: %s is a flag of %s; write bip324-proxy help %s", dashed(name), strings.Join(having, ", "), having[0])}
			}
			if near := settings.Nearest(name, names); near != "" {
				return usageError{fmt.Errorf("help: unknown command or setting %q; did you mean %s?", name, near)}
			}
			return usageError{fmt.Errorf("help: unknown command or setting %.60q; bip324-proxy --help lists all", name)}
		},
	})
}

// relevant has, by command, the settings that its help lists. The command accepts all others, too:
// one file serves the proxy and the commands.
var relevant = map[string][]string{
	"check":  {"config", "listen", "auth", "auth-file", "peer", "upstream", "connect-timeout", "status", "status-token", "status-token-file"},
	"run":    {"config", "listen", "upstream", "deny", "v1-fallback", "known-peers", "passthrough", "status", "log-level", "log-format"},
	"status": {"config", "status", "status-token", "status-token-file"},
}

// printHelp writes the help of the program, a command or a setting's flag, in lines of at
// most helpWidth.
func printHelp(w io.Writer, _ string, of any) {
	var b strings.Builder
	switch of := of.(type) {
	case *cli.App:
		writeHelp(&b, of)
	case *cli.Command:
		writeCommandHelp(&b, of)
	case cli.DocGenerationFlag:
		writeSettingHelp(&b, of)
	}
	io.WriteString(w, b.String())
}

func writeHelp(b *strings.Builder, app *cli.App) {
	b.WriteString(`bip324-proxy is a SOCKS5 proxy that gives any Bitcoin program encrypted
connections: BIP324, also called v2.

Usage: bip324-proxy [FLAG]... [COMMAND [FLAG]... [ARGUMENT]]

Without a command it serves clients until Ctrl-C. Examples:
  bip324-proxy --status 127.0.0.1:1325             with a status page
  bip324-proxy --upstream socks5://127.0.0.1:9050  through Tor
  bip324-proxy check                               is all well, and if not, why?
  bip324-proxy run -- btcd                         btcd, without a proxy setting

Commands:
`)
	for _, c := range app.VisibleCommands() {
		writeEntry(b, c.Name+" "+c.ArgsUsage, c.Usage)
	}
	group := ""
	for _, f := range app.VisibleFlags() {
		if next := groupOf(f); next != "" && next != group {
			group = next
			fmt.Fprintf(b, "\n%s:\n", group)
		}
		writeFlag(b, f)
	}
	b.WriteString(`
Each setting has one name: the flag --v1-fallback is BIP324_PROXY_V1_FALLBACK in
the environment and v1-fallback in the --config file. More about a setting or a
command: bip324-proxy help NAME; about all of them: bip324-proxy man | man -l -
`)
}

func writeCommandHelp(b *strings.Builder, c *cli.Command) {
	writeText(b, "bip324-proxy "+c.Name+": "+c.Usage)
	fmt.Fprintf(b, "\nUsage: %s\n", strings.TrimSpace("bip324-proxy "+c.Name+" [FLAG]... "+c.ArgsUsage))
	if c.Description != "" {
		for paragraph := range strings.SplitSeq(c.Description, "\n\n") {
			b.WriteString("\n")
			writeText(b, paragraph)
		}
	}
	b.WriteString("\nFlags:\n")
	hasSettings := false
	for _, f := range c.VisibleFlags() {
		if hasSettings = hasSettings || groupOf(f) != ""; groupOf(f) == "" && f != cli.HelpFlag {
			writeFlag(b, f)
		}
	}
	writeFlag(b, cli.HelpFlag)
	if !hasSettings {
		return
	}
	listed := relevant[c.Name]
	if len(listed) == 0 {
		b.WriteString("\nAll settings are accepted, too; bip324-proxy --help lists them.\n")
		return
	}
	b.WriteString("\nSettings, the same as the proxy's:\n")
	others := false
	for _, f := range c.VisibleFlags() {
		if slices.Contains(listed, f.Names()[0]) {
			writeFlag(b, f)
		} else if groupOf(f) != "" {
			others = true
		}
	}
	if others {
		b.WriteString("\nThe other settings are accepted, too; bip324-proxy --help lists them.\n")
	}
}

func writeSettingHelp(b *strings.Builder, f cli.DocGenerationFlag) {
	name := f.Names()[0]
	fmt.Fprintf(b, "Usage: %s\n\n", strings.TrimSpace("bip324-proxy --"+name+" "+valueName(f)))
	text := strings.ReplaceAll(f.GetUsage(), "`", "") + "."
	if of, ok := f.(interface{ More() string }); ok {
		text += " " + of.More()
	}
	writeText(b, text)
	b.WriteString("\n")
	if preset := f.GetDefaultText(); preset != "" {
		writeEntry(b, "default", preset)
	}
	writeEntry(b, "in the environment", strings.Join(f.GetEnvVars(), ", "))
	if name != "config" {
		writeEntry(b, "in the --config file", name)
	}
}

// writeText writes a paragraph; one that is indented, such as an example, keeps its lines.
func writeText(b *strings.Builder, paragraph string) {
	lines := strings.Split(paragraph, "\n")
	if !strings.HasPrefix(paragraph, " ") {
		lines = terminal.Fold("", paragraph, helpWidth)
	}
	b.WriteString(strings.Join(lines, "\n") + "\n")
}

// groupOf returns the group of a setting's flag, or "" for another flag.
func groupOf(f cli.Flag) string {
	if of, ok := f.(interface{ Group() string }); ok {
		return of.Group()
	}
	return ""
}

// valueName returns the name of a flag's value, or "" if it takes none.
func valueName(f cli.Flag) string {
	if !takesValue(f) {
		return ""
	}
	if parts := strings.SplitN(f.(cli.DocGenerationFlag).GetUsage(), "`", 3); len(parts) == 3 {
		return parts[1]
	}
	return "VALUE"
}

func writeFlag(b *strings.Builder, f cli.Flag) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return
	}
	head := "--" + f.Names()[0]
	for _, short := range f.Names()[1:] {
		head = "-" + short + ", " + head
	}
	text := strings.ReplaceAll(doc.GetUsage(), "`", "")
	preset := strings.Trim(doc.GetDefaultText(), `"`)
	if preset != "" && preset != "false" && !strings.Contains(text, "(default: ") {
		text += " (default: " + preset + ")"
	}
	writeEntry(b, head+" "+valueName(f), text)
}

// writeEntry writes a name and the text about it, in two columns.
func writeEntry(b *strings.Builder, name, text string) {
	head := fmt.Sprintf("  %-*s", helpIndent-2, strings.TrimSpace(name))
	if utf8.RuneCountInString(head) > helpIndent {
		b.WriteString(head + "\n")
		head = strings.Repeat(" ", helpIndent)
	}
	b.WriteString(strings.Join(terminal.Fold(head, text, helpWidth), "\n") + "\n")
}

// commandNames returns the names of all commands.
func commandNames(app *cli.App) (names []string) {
	for _, c := range app.VisibleCommands() {
		names = append(names, c.Name)
	}
	return names
}
