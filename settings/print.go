package settings

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"bip324proxy/status"
)

// inForce is a setting in force, without secrets.
type inForce struct {
	status.Setting

	note    string // about Value, if there is more to say
	comment bool   // Value is not valid in a file
}

// inForce returns all settings, in the order of the table.
func (s *Settings) inForce() []inForce {
	var all []inForce
	for _, t := range table {
		f := inForce{Setting: status.Setting{Name: t.name, Value: t.value(s), Origin: s.origins[t.name].String()}}
		text, isText := f.Value.(string)
		switch {
		case t.name == "config":
			f.note, f.comment = "not allowed in a file", true
		case t.secret && text != "":
			f.Value, f.note, f.comment = "(set)", "not shown", true
		case t.name == "upstream" && s.HasUpstreamCredentials():
			f.Value, f.note = s.shownUpstreams(), "its user name and password are not shown"
		case t.name == "listen" && f.Origin == "default":
			f.note, f.comment = "unless systemd passes sockets", true
		case t.name == "max-sessions" && s.MaxSessions == 0:
			f.Value, f.note, f.comment = s.Sessions(), "from the file descriptor limit", true
		case isText && !utf8.ValidString(text):
			f.note, f.comment = "not allowed in a file: not UTF-8", true
		}
		all = append(all, f)
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

// WriteTOML writes the settings in force as a file; what is not valid in a file, or
// secret, is in comments.
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

// inTOML returns a value in TOML.
func inTOML(value any) string {
	switch v := value.(type) {
	case string:
		var b strings.Builder
		e := json.NewEncoder(&b) // JSON's strings are TOML's, except for one character
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
