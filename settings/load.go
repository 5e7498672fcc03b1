package settings

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// given is a value that one source gives for one setting.
type given struct {
	texts  []string
	origin origin
}

// origin is where a value comes from. Its zero value is the default.
type origin struct {
	from string // "flag", "environment", or the path of a file
	line int    // in the file
}

// String returns "default", "flag", "environment" or FILE:LINE.
func (o origin) String() string {
	switch {
	case o.line > 0:
		return fmt.Sprintf("%s:%d", o.from, o.line)
	case o.from == "":
		return "default"
	}
	return o.from
}

var fromFlag, fromEnvironment = origin{from: "flag"}, origin{from: "environment"}

// Load returns the settings. Flags override the environment, the environment the file of
// --config, and the file the defaults; a list is taken from one of them as a whole. A flag
// after a command overrides one before it. Load opens no file but those of settings,
// passwords and tokens. The error is an *Error if a setting is invalid.
func Load(c *cli.Context) (*Settings, error) {
	environment, err := readEnvironment(os.Environ())
	if err != nil {
		return nil, err
	}
	sources := []map[string]given{readFlags(c), environment}
	config, ok := sources[0]["config"]
	if !ok {
		config = environment["config"]
	}
	if last := len(config.texts) - 1; last >= 0 && config.texts[last] != "" {
		file, err := readFile(config.texts[last])
		if err != nil {
			return nil, err
		}
		sources = append(sources, file)
	}
	return combine(sources)
}

// defaults returns the default settings.
func defaults() *Settings {
	s := &Settings{origins: make(map[string]origin)}
	for _, t := range table {
		if t.preset != "" {
			if err := t.set(s, t.split([]string{t.preset})); err != nil {
				panic(fmt.Sprintf("the default of %s: %v", t.name, err)) // the tests read them all
			}
		}
	}
	return s
}

// combine returns the settings that sources give; earlier ones override later ones.
func combine(sources []map[string]given) (*Settings, error) {
	s := defaults()
	for _, t := range table {
		for _, source := range sources {
			if g, ok := source[t.name]; ok {
				s.origins[t.name] = g.origin
				if err := t.set(s, g.texts); err != nil {
					return nil, s.Invalid(t.name, err)
				}
				break
			}
		}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// settingFlag is the flag of a setting for urfave/cli. It keeps what was given as text:
// Load parses flags, environment and file alike.
type settingFlag struct{ *setting }

// Flags returns the flags of all settings, group by group.
func Flags() (all []cli.Flag) {
	for _, group := range groups {
		for _, t := range table {
			if t.group == group {
				all = append(all, settingFlag{t})
			}
		}
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
func (f settingFlag) More() string           { return f.more }
func (f settingFlag) Group() string          { return f.group }
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

// readFlags returns what the command line gives. A command's flags hide those before
// the command, so each level is looked at.
func readFlags(c *cli.Context) map[string]given {
	all := make(map[string]given)
	for _, t := range table {
		for _, level := range c.Lineage() {
			if texts, _ := level.Value(t.name).([]string); texts != nil {
				all[t.name] = given{t.split(texts), fromFlag}
				break
			}
		}
	}
	return all
}

// readEnvironment returns what environ, as of os.Environ, gives. An empty variable gives
// nothing.
func readEnvironment(environ []string) (map[string]given, error) {
	all := make(map[string]given)
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		name = strings.TrimPrefix(name, byteOrderMark) // of the first line of a file of variables
		if runtime.GOOS == "windows" {
			name = strings.ToUpper(name) // where case does not matter
		}
		if !strings.HasPrefix(name, envPrefix) || text == "" {
			continue
		}
		i := slices.IndexFunc(table, func(t *setting) bool { return t.env() == name })
		switch {
		case i < 0 && (strings.Contains(name, "_SERVICE_") || strings.Contains(name, "_PORT")):
			continue // Kubernetes and Docker set such variables for a service called bip324-proxy
		case i < 0:
			return nil, &Error{name, fmt.Errorf("unknown setting; %s", didYouMean(name[len(envPrefix):], (*setting).env))}
		}
		t := table[i]
		all[t.name] = given{t.split([]string{text}), fromEnvironment}
	}
	return all, nil
}

// byteOrderMark begins files that Windows editors save.
const byteOrderMark = "\ufeff"

// split splits a list from the command line or the environment at its commas. It drops
// the byte order mark and line end of a value that was read from a file, as by
// "$(cat FILE)".
func (t *setting) split(texts []string) (all []string) {
	for i, text := range texts {
		texts[i] = strings.TrimRight(strings.TrimPrefix(text, byteOrderMark), "\r\n")
	}
	if !t.isList() {
		return texts
	}
	for _, text := range texts {
		if t.splitList != nil {
			all = append(all, t.splitList(text)...)
			continue
		}
		for each := range strings.SplitSeq(text, ",") {
			all = append(all, strings.TrimSpace(each))
		}
	}
	return all
}
