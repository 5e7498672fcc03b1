package settings

import (
	"flag"

	"github.com/urfave/cli/v2"
)

// settingFlag is the flag of a setting for urfave/cli. It keeps what was given as text:
// Load parses flags, environment and file alike.
type settingFlag struct{ *setting }

// Flags returns the flags of all settings.
func Flags() (all []cli.Flag) {
	for _, t := range table {
		all = append(all, settingFlag{t})
	}
	return all
}

func (f settingFlag) Apply(set *flag.FlagSet) error {
	set.Var(&givenFlag{isBool: f.isBool()}, f.name, f.usage)
	return nil
}

func (f settingFlag) String() string         { return cli.FlagStringer(f) }
func (f settingFlag) Names() []string        { return []string{f.name} }
func (f settingFlag) IsSet() bool            { return false } // only the command line counts
func (f settingFlag) IsVisible() bool        { return true }
func (f settingFlag) TakesValue() bool       { return !f.isBool() }
func (f settingFlag) IsSliceFlag() bool      { return f.isList() }
func (f settingFlag) GetUsage() string       { return f.usage }
func (f settingFlag) GetValue() string       { return f.preset }
func (f settingFlag) GetDefaultText() string { return f.preset }
func (f settingFlag) GetEnvVars() []string   { return []string{f.env()} }

// givenFlag has what the command line gives for a flag, in order.
type givenFlag struct {
	isBool bool
	texts  []string // nil if it is not given
}

func (g *givenFlag) Set(text string) error {
	g.texts = append(g.texts, text)
	return nil
}

func (g *givenFlag) String() string   { return "" }
func (g *givenFlag) Get() any         { return g.texts }
func (g *givenFlag) IsBoolFlag() bool { return g.isBool }
