package manual

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

var (
	//go:embed completion.bash
	bash string
	//go:embed completion.zsh
	zsh string
	//go:embed completion.fish
	fish string
)

// Shells are those that Completion knows.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Completion writes the completion script for one of Shells. It needs no other script,
// and in bash not more than the 3.2 of macOS. The app must have been set up, by
// Setup or Run.
func Completion(w io.Writer, app *cli.App, words Words, shell string) error {
	script := map[string]string{"bash": bash, "zsh": zsh, "fish": fish}[shell]
	if script == "" {
		return fmt.Errorf("%q is none of %q", shell, Shells())
	}
	t, err := template.New(shell).Funcs(template.FuncMap{
		"first":    func(all []string) string { return all[0] },
		"function": func(name string) string { return "_" + strings.ReplaceAll(name, "-", "_") },
		"join":     strings.Join,
		"names":    names,
		"quote":    func(s string) string { return strings.ReplaceAll(s, "'", `'\''`) },
		"spec":     spec,
		"trim":     func(name string) string { return strings.TrimLeft(name, "-") },
		"short":    func(name string) bool { return len(name) == len("-h") },
		"zsh":      zshQuote,
	}).Parse(script)
	if err != nil {
		return err
	}
	return t.Execute(w, describe(app, words))
}

// names are all names of those options that take a value, or of those that take a
// file's, or of all.
func names(options []option, which string) (all []string) {
	for _, o := range options {
		if which == "all" || which == "value" && o.Value != "" || which == "file" && o.File() {
			all = append(all, o.Names...)
		}
	}
	return all
}

// spec is an option as zsh's _arguments has it, one word for each of its names.
func spec(o option) string {
	var all []string
	for _, name := range o.Names {
		s := "'" + name
		others := o.Names
		if o.Many {
			s, others = "'*"+name, nil
		}
		if len(others) > 1 {
			s = "'(" + strings.Join(others, " ") + ")" + name
		}
		if o.Value != "" {
			s += "="
		}
		s += "[" + zshQuote(o.Plain()) + "]"
		switch {
		case o.Value == "":
		case o.Words != nil:
			s += ":" + zshQuote(o.Value) + ":(" + strings.Join(o.Words, " ") + ")"
		case o.File():
			s += ":" + zshQuote(o.Value) + ":_files"
		default:
			s += ":" + zshQuote(o.Value) + ": "
		}
		all = append(all, s+"'")
	}
	return strings.Join(all, " ")
}

var zshQuote = strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`, `\`, `\\`).Replace
