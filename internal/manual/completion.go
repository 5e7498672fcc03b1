package manual

import (
	_ "embed"
	"fmt"
	"io"
	"strings"

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

// Shells returns the shells that Completion supports.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Completion writes the completion script for a shell, one of Shells. The script needs no
// other; in bash it needs 3.2, which macOS has. Setup or Run must have set up app.
func Completion(w io.Writer, app *cli.App, words Words, shell string) error {
	script := map[string]string{"bash": bash, "zsh": zsh, "fish": fish}[shell]
	if script == "" {
		return fmt.Errorf("unknown shell %q; must be one of %q", shell, Shells())
	}
	return write(w, script, app, words)
}

// names returns the names of the options that take a value, or a file name, or of all.
func names(options []option, which string) (all []string) {
	for _, o := range options {
		if which == "all" || which == "value" && o.Value != "" || which == "file" && o.File() {
			all = append(all, o.Names...)
		}
	}
	return all
}

// spec returns an option in the format of zsh's _arguments, a word for each name.
func spec(o option) string {
	var before, value, action string
	if o.Many {
		before = "*"
	} else if len(o.Names) > 1 {
		before = "(" + strings.Join(o.Names, " ") + ")"
	}
	if o.Value != "" {
		value, action = "=", ":"+zshQuote(o.Value)+": "
		switch {
		case o.Words != nil:
			action = ":" + zshQuote(o.Value) + ":(" + strings.Join(o.Words, " ") + ")"
		case o.File():
			action = ":" + zshQuote(o.Value) + ":_files"
		}
	}
	var all []string
	for _, name := range o.Names {
		all = append(all, "'"+before+name+value+"["+zshQuote(o.Plain())+"]"+action+"'")
	}
	return strings.Join(all, " ")
}

var zshQuote = strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`, `\`, `\\`).Replace
