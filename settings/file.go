package settings

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// readFile returns what the file of settings at path gives.
func readFile(path string) (map[string]given, error) {
	text, err := readText(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return parseFile(path, []byte(text))
}

// parseFile parses the content of the file at path. The error is an *Error with the line.
func parseFile(path string, content []byte) (map[string]given, error) {
	wrong := func(line int, format string, args ...any) error {
		return &Error{fmt.Sprintf("%s:%d", path, line), fmt.Errorf(format, args...)}
	}
	all := make(map[string]given)
	var p unstable.Parser // the only one that knows where keys are
	for p.Reset(content); p.NextExpression(); {
		var parts []string
		line := 0
		for keys := p.Expression().Key(); keys.Next(); {
			parts = append(parts, string(keys.Node().Data))
			if line == 0 {
				line = p.Shape(keys.Node().Raw).Start.Line
			}
		}
		name := strings.Join(parts, ".")
		t := lookUp(name)
		switch {
		case p.Expression().Kind != unstable.KeyValue:
			return nil, wrong(line, "sections are not supported; remove [%.60s]", name)
		case t == nil:
			return nil, wrong(line, "unknown setting %.60q; %s", name, didYouMean(name, func(t *setting) string { return t.name }))
		case name == "config":
			return nil, wrong(line, "config: a file cannot include another; remove this line")
		case all[name].origin.line > 0:
			return nil, wrong(line, "%s is already set in line %d; remove one of them", name, all[name].origin.line)
		case !t.isOfType(p.Expression()):
			return nil, wrong(line, "%s: must be %s", name, t.example())
		}
		all[name] = given{nil, origin{path, line}}
	}
	var values map[string]any
	if err := toml.Unmarshal(content, &values); err != nil { // the parser's error, or a value's
		line := 1
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, _ = at.Position()
		}
		if t := settingIn(content, line); t != nil {
			return nil, wrong(line, "%s: must be %s", t.name, t.example())
		}
		hint := ""
		if strings.Contains(lineOf(content, line), `\`) {
			hint = `; write a path with \ in single quotes, 'C:\folder\file'`
		}
		return nil, wrong(line, "invalid TOML: %s%s", strings.TrimPrefix(err.Error(), "toml: "), hint)
	}
	for name, g := range all {
		all[name] = given{asTexts(values[name]), g.origin}
	}
	return all, nil
}

// settingIn returns the setting to which a line of invalid TOML gives a word without
// quotes, or nil.
func settingIn(content []byte, line int) *setting {
	name, value, _ := strings.Cut(lineOf(content, line), "=")
	if value = strings.TrimSpace(value); value == "" || !unicode.IsLetter(rune(value[0])) {
		return nil
	}
	return lookUp(strings.TrimSpace(name))
}

// lineOf returns a line of content, or the last one.
func lineOf(content []byte, line int) string {
	lines := strings.Split(string(content), "\n")
	return lines[min(line, len(lines))-1]
}

// isOfType reports whether an expression, KEY = VALUE or the head of a table, has a
// value of the setting's type.
func (t *setting) isOfType(e *unstable.Node) bool {
	kind, _ := t.inFile()
	if e.Kind == unstable.KeyValue && t.orOne && e.Value().Kind == unstable.Array {
		kind = unstable.Array
	}
	if e.Kind != unstable.KeyValue || e.Value().Kind != kind {
		return false
	}
	for each := e.Value().Children(); kind == unstable.Array && each.Next(); {
		if each.Node().Kind != unstable.String {
			return false
		}
	}
	return true
}

// asTexts returns a value of TOML in the way that flags give it.
func asTexts(value any) (texts []string) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, each := range list {
		texts = append(texts, fmt.Sprint(each))
	}
	return texts
}

// inFile returns the kind of the setting's values in a file, and its name.
func (t *setting) inFile() (kind unstable.Kind, name string) {
	switch t.value(new(Settings)).(type) {
	case []string:
		return unstable.Array, "a list of strings"
	case string:
		if t.orOne {
			return unstable.String, "a string, in quotes, or a list of strings"
		}
		return unstable.String, "a string, in quotes"
	case int:
		return unstable.Integer, "an integer, without quotes"
	}
	return unstable.Bool, "true or false, without quotes"
}

// example returns how a file sets t.
func (t *setting) example() string {
	_, text := t.inFile()
	if t.preset != "" {
		text += fmt.Sprintf(", such as %s = %s", t.name, inTOML(t.value(defaults())))
	}
	return text
}
