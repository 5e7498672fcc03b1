package settings

import (
	"flag"

	"github.com/urfave/cli/v2"
)

// settingFlag is a setting as urfave/cli wants a flag to be. It only notes what
// was given: what that means is the same for a flag, the environment and the file,
// and so is what is wrong with it; see load.
type settingFlag struct{ *setting }

// Flags are those of all settings.
func Flags() (all []cli.Flag) {
	for i := range table {
		all = append(all, settingFlag{&table[i]})
	}
	return all
}

func (f settingFlag) Apply(set *flag.FlagSet) error {
	_, isBool := f.field(new(Settings)).(*bool)
	set.Var(&givenFlag{isBool: isBool}, f.name, f.usage)
	return nil
}

func (f settingFlag) String() string         { return cli.FlagStringer(f) }
func (f settingFlag) Names() []string        { return []string{f.name} }
func (f settingFlag) IsSet() bool            { return false } // beyond what the command line says
func (f settingFlag) IsVisible() bool        { return true }
func (f settingFlag) IsSliceFlag() bool      { return f.isList() }
func (f settingFlag) GetUsage() string       { return f.usage }
func (f settingFlag) GetValue() string       { return f.preset }
func (f settingFlag) GetDefaultText() string { return f.preset }
func (f settingFlag) GetEnvVars() []string   { return []string{f.env()} }

func (f settingFlag) TakesValue() bool {
	_, isBool := f.field(new(Settings)).(*bool)
	return !isBool
}

// givenFlag is what the command line has for a flag, in its order.
type givenFlag struct {
	isBool bool
	texts  []string // nil if it is not there
}

func (g *givenFlag) Set(text string) error {
	g.texts = append(g.texts, text)
	return nil
}

func (g *givenFlag) String() string   { return "" }
func (g *givenFlag) Get() any         { return g.texts }
func (g *givenFlag) IsBoolFlag() bool { return g.isBool }
