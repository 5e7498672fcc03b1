package settings

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// given is what one place says about one setting.
type given struct {
	texts  []string
	origin origin
}

// origin is where a value comes from. Its zero value is the default.
type origin struct {
	from string // "flag", "environment", or the path of a file
	line int    // in the file
}

// String is the origin as people are shown it: default, flag, environment, or
// FILE:LINE.
func (o origin) String() string {
	switch {
	case o.line > 0:
		return fmt.Sprintf("%s:%d", o.from, o.line)
	case o.from == "":
		return "default"
	}
	return o.from
}

// of names the setting in the way that it was given.
func (o origin) of(t *setting) string {
	switch {
	case o.line > 0:
		return fmt.Sprintf("%v: %s", o, t.name)
	case o == fromEnvironment:
		return t.env()
	}
	return "--" + t.name
}

var fromFlag, fromEnvironment = origin{from: "flag"}, origin{from: "environment"}

// Load returns the settings: of each what the flags say, or else the environment,
// or else the file of --config, or else the default. A list is taken as a whole
// from one of them. The flags may stand before a command, after it, or both; then
// those after it count. Nothing is opened but files of settings and passwords.
//
// The error is an *Error if something that was given is wrong.
func Load(c *cli.Context) (*Settings, error) {
	environment, err := readEnvironment(os.Environ())
	if err != nil {
		return nil, err
	}
	sources := []map[string]given{readFlags(c), environment}
	for _, source := range sources {
		if file, ok := source["config"]; ok {
			if path := file.texts[len(file.texts)-1]; path != "" {
				content, err := readFile(path)
				if err != nil {
					return nil, err
				}
				sources = append(sources, content)
			}
			break
		}
	}
	return combine(sources)
}

// defaults are the settings before anything was given.
func defaults() *Settings {
	s := &Settings{origins: make(map[string]origin)}
	for i := range table {
		t := &table[i]
		if t.preset != "" {
			if err := t.set(s, t.split([]string{t.preset})); err != nil {
				panic(fmt.Sprintf("the default of %s: %v", t.name, err)) // the tests read them all
			}
		}
	}
	return s
}

// combine makes settings of what was given; earlier sources go before later ones.
func combine(sources []map[string]given) (*Settings, error) {
	s := defaults()
	for i := range table {
		t := &table[i]
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

// readFlags returns what the command line says. A command that has the flags, too,
// hides those before it, so each level is asked for itself.
func readFlags(c *cli.Context) map[string]given {
	all := make(map[string]given)
	for i := range table {
		t := &table[i]
		for _, level := range c.Lineage() {
			if texts, _ := level.Value(t.name).([]string); texts != nil {
				all[t.name] = given{t.split(texts), fromFlag}
				break
			}
		}
	}
	return all
}

// readEnvironment returns what the environment says, which is given as os.Environ
// has it. A variable that is empty says nothing.
func readEnvironment(environ []string) (map[string]given, error) {
	all := make(map[string]given)
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		name = strings.TrimPrefix(name, byteOrderMark) // of the first line of a file of variables
		if runtime.GOOS == "windows" {
			name = strings.ToUpper(name) // there it is all the same
		}
		if !strings.HasPrefix(name, envPrefix) || text == "" {
			continue
		}
		i := slices.IndexFunc(table, func(t setting) bool { return t.env() == name })
		switch {
		case i < 0 && isServiceLink(name):
			continue
		case i < 0:
			like := strings.ToLower(strings.ReplaceAll(name[len(envPrefix):], "_", "-"))
			return nil, &Error{name, fmt.Errorf("unknown setting; did you mean %s?", lookUp(nearest(like)).env())}
		}
		t := &table[i]
		all[t.name] = given{t.split([]string{text}), fromEnvironment}
	}
	return all, nil
}

// isServiceLink says whether name is one of the variables that Kubernetes and
// Docker set for a service that is called bip324-proxy.
func isServiceLink(name string) bool {
	return strings.Contains(name, "_SERVICE_") || strings.Contains(name, "_PORT")
}

// byteOrderMark is what editors of Windows begin a file with.
const byteOrderMark = "\ufeff"

// split cuts a list that was given on the command line, or in the environment, at
// its commas. In the file it has a form of its own. What remains of a file that the text
// was taken from, as by "$(cat FILE)", is dropped.
func (t *setting) split(texts []string) (all []string) {
	for i, text := range texts {
		texts[i] = strings.TrimRight(strings.TrimPrefix(text, byteOrderMark), "\r\n")
	}
	if !t.isList() {
		return texts
	}
	for _, text := range texts {
		for each := range strings.SplitSeq(text, ",") {
			all = append(all, strings.TrimSpace(each))
		}
	}
	return all
}

// nearest is the name of a setting that looks most like name.
func nearest(name string) string {
	return strings.TrimPrefix(cli.SuggestFlag(Flags(), name, true), "--")
}
