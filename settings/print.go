package settings

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"bip324proxy/status"
)

// inForce is a setting as it is in force. What is secret in it is not there.
type inForce struct {
	status.Setting

	note    string // why Value is not all that there is to say, if so
	comment bool   // Value is nothing for a file
}

// inForce returns all settings in the order of the table.
func (s *Settings) inForce() []inForce {
	all := make([]inForce, len(table))
	for i := range table {
		t := &table[i]
		f := inForce{Setting: status.Setting{Name: t.name, Value: t.value(s), Origin: s.origins[t.name].String()}}
		text, isText := f.Value.(string)
		switch {
		case t.name == "config":
			f.note, f.comment = "not allowed in a file", true
		case t.secret && text != "":
			f.Value, f.note, f.comment = "(set)", "not shown", true
		case t.name == "upstream" && s.Policy.Upstream != nil && s.Policy.Upstream.Credentials != nil:
			// As a file this still goes there, and not past it.
			f.Value, f.note = s.Policy.Upstream.String(), "its user name and password are not shown"
		case t.name == "listen" && f.Origin == "default":
			f.note, f.comment = "unless systemd passes sockets", true
		case t.name == "max-sessions" && s.MaxSessions == 0:
			f.Value, f.note, f.comment = s.Sessions(), "from the file descriptor limit", true
		case isText && !utf8.ValidString(text):
			f.note, f.comment = "not allowed in a file: not UTF-8", true
		}
		all[i] = f
	}
	return all
}

// Shown returns the settings in force, without secrets.
func (s *Settings) Shown() (all []status.Setting) {
	for _, f := range s.inForce() {
		all = append(all, f.Setting)
	}
	return all
}

// WriteTOML writes a file of settings that sets all that a file can and may; the
// rest is in comments.
func (s *Settings) WriteTOML(w io.Writer) error {
	all := s.inForce()
	lines := make([]string, len(all))
	width := 0
	for i, f := range all {
		lines[i] = f.Name + " = " + inTOML(f.Value)
		if f.comment {
			lines[i] = "# " + lines[i]
		}
		if n := utf8.RuneCountInString(lines[i]); n <= 40 {
			width = max(width, n)
		}
	}
	for i, f := range all {
		origin := f.Origin
		if f.note != "" {
			origin += "; " + f.note
		}
		if _, err := fmt.Fprintf(w, "%-*s  # %s\n", width, lines[i], origin); err != nil {
			return err
		}
	}
	return nil
}

// inTOML writes a value as a file of settings has it.
func inTOML(value any) string {
	switch v := value.(type) {
	case string:
		var b strings.Builder
		e := json.NewEncoder(&b) // its strings are TOML's, but for one character
		e.SetEscapeHTML(false)
		e.Encode(v)
		return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`)
	case []string:
		all := make([]string, len(v))
		for i := range v {
			all[i] = inTOML(v[i])
		}
		return "[" + strings.Join(all, ", ") + "]"
	default:
		return fmt.Sprint(v)
	}
}
