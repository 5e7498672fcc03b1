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
