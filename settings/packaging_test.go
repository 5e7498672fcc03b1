package settings

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// The packaged file is valid and has every setting, at its default except for the known peers.
func TestPackagedFile(t *testing.T) {
	const path = "../packaging/config.toml"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if said, err := parseFile(path, content); err != nil || len(said) != 1 || said["known-peers"].texts == nil {
		t.Errorf("got %v, %v", said, err)
	}
	shown := regexp.MustCompile(`(?m)^#([a-z0-9-]+ = )`).ReplaceAll(content, []byte("$1"))
	all, err := parseFile(path, shown)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := combine(nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := combine([]map[string]given{all})
	if err != nil {
		t.Fatal(err)
	}
	other := []string{"listen", "max-sessions", "known-peers"} // their defaults do not fit a package
	for _, s := range table {
		switch _, ok := all[s.name]; {
		case s.name == "config":
		case !ok:
			t.Errorf("%s is missing", s.name)
		case !slices.Contains(other, s.name) && inTOML(s.value(set)) != inTOML(s.value(defaults)):
			t.Errorf("%s = %s, want %s", s.name, inTOML(s.value(set)), inTOML(s.value(defaults)))
		}
	}
}
