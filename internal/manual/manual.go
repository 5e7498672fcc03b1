// Package manual generates a program's manual page and shell completions from the
// definitions of its flags and commands, so that they agree with its help. Completions do
// not run the program.
package manual

import (
	_ "embed"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

// Words has the valid values of flags, and arguments of commands, that have only a few, by
// "--flag" or "command".
type Words map[string][]string

// option is a flag.
type option struct {
	Names   []string // with their dashes, the long one first
	Value   string   // the name of its value; empty if it takes none
	Usage   string   // with the value's name in backticks
	More    string   // further sentences, for the page
	Group   string   // its heading on the page; empty for that of the option before
	Default string   // empty if there is none or Usage has it
	Env     []string
	Many    bool     // it is repeatable
	Words   []string // the valid values; nil if there are many
}

// File reports whether the value is a file name.
func (o option) File() bool { return o.Value == "FILE" }

// Plain returns the usage without backticks.
func (o option) Plain() string { return strings.ReplaceAll(o.Usage, "`", "") }

// command is a command of the program.
type command struct {
	Name    string
	Args    string // the name of its arguments
	Usage   string
	Details string
	Options []option
	Own     []option // those that the program does not have
	Words   []string // the valid first arguments; nil if there are many
}

// File reports whether its arguments are file names.
func (c command) File() bool { return strings.Contains(c.Args, "FILE") }

// Program reports whether its arguments are a command of the system and that one's arguments.
func (c command) Program() bool { return strings.Contains(c.Args, "COMMAND") }

// Shared reports whether it also has options of the program.
func (c command) Shared() bool { return len(c.Own) < len(c.Options) }

// program is what the templates are filled with.
type program struct {
	Name, Version, Usage string
	Options              []option
	Commands             []command
}

// All returns the options of the program and its commands, each name once.
func (p program) All() []option {
	all := slices.Clone(p.Options)
	for _, c := range p.Commands {
		all = append(all, slices.DeleteFunc(slices.Clone(c.Own), func(o option) bool { return o.isIn(all) })...)
	}
	return all
}

// isIn reports whether one of options has o's name.
func (o option) isIn(options []option) bool {
	return slices.ContainsFunc(options, func(of option) bool { return of.Names[0] == o.Names[0] })
}

// describe reads the definitions of app, which Setup or Run has set up.
func describe(app *cli.App, words Words) program {
	p := program{Name: app.Name, Version: app.Version, Usage: app.Usage, Options: options(app.VisibleFlags(), words)}
	for i, group := 0, ""; i < len(p.Options); i++ { // a heading only where a group begins
		if o := &p.Options[i]; o.Group == group {
			o.Group = ""
		} else if o.Group != "" {
			group = o.Group
		}
	}
	for _, c := range app.VisibleCommands() {
		own := slices.DeleteFunc(c.VisibleFlags(), func(f cli.Flag) bool {
			return f == cli.HelpFlag // which a command has once it runs
		})
		d := command{
			Name: c.Name, Args: c.ArgsUsage, Usage: c.Usage, Details: c.Description,
			Options: options(own, words), Words: words[c.Name],
		}
		d.Own = slices.DeleteFunc(slices.Clone(d.Options), func(o option) bool { return o.isIn(p.Options) })
		p.Commands = append(p.Commands, d)
	}
	return p
}

// described is a flag with more to say than its usage.
type described interface {
	More() string
	Group() string
}

func options(flags []cli.Flag, words Words) (all []option) {
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		o := option{Usage: doc.GetUsage(), Env: doc.GetEnvVars()}
		if f, ok := f.(described); ok {
			o.More, o.Group = f.More(), f.Group()
		}
		for _, name := range f.Names() {
			o.Names = append(o.Names, strings.Repeat("-", min(len(name), 2))+name)
		}
		slices.SortStableFunc(o.Names, func(a, b string) int { return len(b) - len(a) })
		o.Words = words[o.Names[0]]
		switch {
		case doc.TakesValue():
			o.Value = "VALUE"
			if _, rest, ok := strings.Cut(o.Usage, "`"); ok {
				o.Value, _, _ = strings.Cut(rest, "`")
			}
			if !strings.Contains(o.Usage, "(default: ") {
				o.Default = strings.Trim(doc.GetDefaultText(), `"`)
			}
		case doc.GetDefaultText() == "true":
			o.Default = "true"
		}
		slice, ok := f.(cli.DocGenerationSliceFlag)
		o.Many = ok && slice.IsSliceFlag()
		all = append(all, o)
	}
	return all
}

//go:embed page.roff
var page string

// Page writes the manual page, in section 1. Setup or Run must have set up app.
func Page(w io.Writer, app *cli.App) error { return write(w, page, app, nil) }

// write fills a template with the definitions of app.
func write(w io.Writer, text string, app *cli.App, words Words) error {
	t, err := template.New("").Funcs(template.FuncMap{
		"first":    func(all []string) string { return all[0] },
		"function": func(name string) string { return "_" + strings.ReplaceAll(name, "-", "_") },
		"join":     strings.Join,
		"names":    names,
		"quote":    func(s string) string { return strings.ReplaceAll(s, "'", `'\''`) },
		"roff":     roff,
		"short":    func(name string) bool { return len(name) == len("-h") },
		"spec":     spec,
		"trim":     func(name string) string { return strings.TrimLeft(name, "-") },
		"usage":    usage,
		"zsh":      zshQuote,
	}).Parse(text)
	if err != nil {
		return err
	}
	return t.Execute(w, describe(app, words))
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, `^`, `\(ha`, `~`, `\(ti`, "`", `\(ga`, `…`, `...`)

// roff escapes text for man(1), except at the beginning of a line.
func roff(text string) string { return roffEscapes.Replace(text) }

// usage returns a flag's usage with the name of its value in italics.
func usage(text string) string {
	if part := strings.SplitN(text, "`", 3); len(part) == 3 {
		return `\&` + roff(part[0]) + `\fI` + roff(part[1]) + `\fR` + roff(part[2])
	}
	return `\&` + roff(text)
}
