// Package manual makes the manual page and the shells' completions of a program
// from the definitions of its flags and commands, so that they cannot say
// anything else than its help.
//
// What is made is text: completions do not run the program, and work before it
// is installed.
package manual

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Words are the words that flags and commands take where only a few are good, by
// "--flag" or "command".
type Words map[string][]string

// option is a flag as manuals have it.
type option struct {
	Names   []string // with their dashes, the long one first
	Value   string   // what its value is called, "" if it takes none
	Usage   string   // with the value's name in backticks
	Default string   // "" if Usage says it, or there is none
	Env     []string
	Many    bool     // it may be repeated
	Words   []string // all values that are good, nil if there are more than a few
}

// File says whether the value is the name of a file.
func (o option) File() bool { return o.Value == "FILE" }

// Plain is the usage without backticks.
func (o option) Plain() string { return strings.ReplaceAll(o.Usage, "`", "") }

// command is one of the program's.
type command struct {
	Name    string
	Args    string // what its arguments are called
	Usage   string
	Details string
	Options []option
	Own     []option // those that the program itself does not have
	Shared  bool     // there are others
	Words   []string // all first arguments that are good, nil if there are more than a few
}

// File says whether its arguments are names of files.
func (c command) File() bool { return strings.Contains(c.Args, "FILE") }

// program is all that the definitions say.
type program struct {
	Name, Version, Usage string
	Options              []option
	Commands             []command
}

// All are the options of the program and of its commands, each name once.
func (p program) All() (options []option) {
	seen := make(map[string]bool)
	for _, list := range append([]command{{Options: p.Options}}, p.Commands...) {
		for _, o := range list.Options {
			if !seen[o.Names[0]] {
				options = append(options, o)
			}
			seen[o.Names[0]] = true
		}
	}
	return options
}

// describe reads the definitions of a program that has been set up, by Setup or
// Run.
func describe(app *cli.App, words Words) program {
	p := program{Name: app.Name, Version: app.Version, Usage: app.Usage, Options: options(app.VisibleFlags(), words)}
	for _, c := range app.VisibleCommands() {
		own := slices.DeleteFunc(c.VisibleFlags(), func(f cli.Flag) bool {
			return f == cli.HelpFlag // a command has it as soon as it runs
		})
		d := command{
			Name: c.Name, Args: c.ArgsUsage, Usage: c.Usage, Details: c.Description,
			Options: options(own, words), Words: words[c.Name],
		}
		for _, o := range d.Options {
			if slices.ContainsFunc(p.Options, func(of option) bool { return of.Names[0] == o.Names[0] }) {
				d.Shared = true
			} else {
				d.Own = append(d.Own, o)
			}
		}
		p.Commands = append(p.Commands, d)
	}
	return p
}

func options(flags []cli.Flag, words Words) (all []option) {
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		o := option{Usage: doc.GetUsage(), Env: doc.GetEnvVars()}
		for _, name := range f.Names() {
			o.Names = append(o.Names, strings.Repeat("-", min(len(name), 2))+name)
		}
		slices.SortStableFunc(o.Names, func(a, b string) int { return len(b) - len(a) })
		o.Words = words[o.Names[0]]
		if !doc.TakesValue() && doc.GetDefaultText() == "true" {
			o.Default = "true"
		}
		if doc.TakesValue() {
			o.Value = "VALUE"
			if _, rest, ok := strings.Cut(o.Usage, "`"); ok {
				o.Value, _, _ = strings.Cut(rest, "`")
			}
			if !strings.Contains(o.Usage, "(default: ") {
				o.Default = strings.Trim(doc.GetDefaultText(), `"`)
			}
		}
		if slice, ok := f.(cli.DocGenerationSliceFlag); ok {
			o.Many = slice.IsSliceFlag()
		}
		all = append(all, o)
	}
	return all
}
