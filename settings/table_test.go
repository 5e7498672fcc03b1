package settings

import (
	"os"
	"strings"
	"testing"
)

// docs/configuration.md has every setting, its default, and whether a reload changes it.
func TestSettingsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range table {
		var s Settings
		row := "| `" + setting.name + "` "
		if setting.reload {
			row += "↻ "
		}
		row += "| "
		if setting.isList() || setting.preset != "" {
			if setting.preset != "" {
				if err := setting.set(&s, setting.split([]string{setting.preset})); err != nil {
					t.Fatal(err)
				}
			}
			row += "`" + inTOML(setting.value(&s)) + "` "
		}
		if !strings.Contains(string(text), "\n"+row+"| ") {
			t.Errorf("docs/configuration.md lacks a row that begins with %s", row)
		}
	}
}

// Each setting has a flag, in a group, and texts that fit together: a phrase and sentences.
func TestSettingsHaveFlags(t *testing.T) {
	if got := len(Flags()); got != len(table) {
		t.Errorf("%d settings are in groups, want %d", got, len(table))
	}
	for _, s := range table {
		if s.usage == "" || strings.HasSuffix(s.usage, ".") || s.more != "" && !strings.HasSuffix(s.more, ".") {
			t.Errorf("%s: usage %q, more %q", s.name, s.usage, s.more)
		}
	}
}
