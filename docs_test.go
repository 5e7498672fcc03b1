package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the documentation: the path of each from here, and its text without
// blocks of code.
func pages(t *testing.T) map[string]string {
	t.Helper()
	code := regexp.MustCompile("(?ms)^```.*?^```$|^    .*?$")
	all := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "dist" || d.Name() == "node_modules" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		all[filepath.ToSlash(path)] = code.ReplaceAllString(string(text), "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Links within the repository lead somewhere, to the heading, too, and the index of
// docs/ has all of its pages.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor := regexp.MustCompile(`[^\pL\pN_ -]`)
	all := pages(t)
	indexed := make(map[string]bool)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, hasAnchor := strings.Cut(m[1], "#")
			to := page
			if path != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(page), path))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			}
			if page == "docs/README.md" {
				indexed[to] = true
			}
			if hasAnchor && !slices.ContainsFunc(heading.FindAllStringSubmatch(all[to], -1), func(h []string) bool {
				return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == anchor
			}) {
				t.Errorf("%s: %s has no heading %s", page, to, anchor)
			}
		}
	}
	for page := range all {
		if strings.HasPrefix(page, "docs/") && page != "docs/README.md" && !indexed[page] {
			t.Errorf("docs/README.md does not have %s", page)
		}
	}
}

// testsByPackage returns the names of all tests and fuzz targets by the directory of
// their package.
func testsByPackage(t *testing.T) map[string][]string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	all := make(map[string][]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		dir := filepath.ToSlash(filepath.Dir(path))
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			all[dir] = append(all[dir], m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The commands in docs/reliability.md, `T PATTERN` and `P PATTERN PACKAGE...`, run tests
// that exist: each alternative of the pattern, and each package.
func TestCommandsOfReliability(t *testing.T) {
	tests := testsByPackage(t)
	matches := func(pattern string, dirs []string) bool {
		name := regexp.MustCompile(pattern)
		return slices.ContainsFunc(dirs, func(dir string) bool { return slices.ContainsFunc(tests[dir], name.MatchString) })
	}
	page, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`([TP]) ('[^'`]*'|[^ '`]+)((?: [^ `]+)*)`").FindAllStringSubmatch(string(page), -1) {
		pattern, dirs := strings.ReplaceAll(strings.Trim(m[2], "'"), `\|`, "|"), []string{"test"}
		if m[1] == "P" {
			dirs = strings.Fields(strings.ReplaceAll(m[3], "./", ""))
		}
		for alternative := range strings.SplitSeq(pattern, "|") {
			if name, _, _ := strings.Cut(alternative, "/"); !matches(name, dirs) {
				t.Errorf("docs/reliability.md: %s: no test matches %s", m[0], name)
			}
		}
		for _, dir := range dirs {
			if !matches(pattern, []string{dir}) && !strings.Contains(pattern, "/") {
				t.Errorf("docs/reliability.md: %s: no test in %s", m[0], dir)
			}
		}
	}
}

// The tests that docs/threat-model.md names are in the package before them, or in proxy/.
// Fuzz targets are named without a package.
func TestNamesInThreatModel(t *testing.T) {
	tests := testsByPackage(t)
	page, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := "proxy"
	for _, m := range regexp.MustCompile("`([a-z0-9/]+)/`|\\b((?:Test|Fuzz)[A-Z]\\w*)|[;|(]").FindAllStringSubmatch(string(page), -1) {
		switch name := m[2]; {
		case m[1] != "":
			dir = m[1]
		case name == "":
			dir = "proxy"
		case strings.HasPrefix(name, "Fuzz"):
			if !slices.ContainsFunc(slices.Collect(maps.Values(tests)), func(in []string) bool { return slices.Contains(in, name) }) {
				t.Errorf("docs/threat-model.md: there is no %s", name)
			}
		case !slices.Contains(tests[dir], name):
			t.Errorf("docs/threat-model.md: %s/ has no %s", dir, name)
		}
	}
}
