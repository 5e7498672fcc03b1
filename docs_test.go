package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages returns the documentation: each page's text without code blocks, by path.
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

// Links within the repository resolve, headings included, and the index in docs/ lists all pages.
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

// The first ten lines of the README say who can read v1 traffic, what the proxy changes, and who does not need it. Below
// them are the commands for the demonstration and for all tests.
func TestReadmeSaysWhy(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Join(strings.Split(string(text), "\n")[:10], "\n")
	for _, said := range []string{"provider", "Wi-Fi", "hosting", "VPN", "Tor exit", "plaintext", "v2", "Bitcoin Core", "Not for", "127.0.0.1:1324"} {
		if !strings.Contains(strings.ReplaceAll(first, "\n", " "), said) {
			t.Errorf("the first ten lines lack %q:\n%s", said, first)
		}
	}
	for _, command := range []string{"\n    go run . demo\n", "\n    go test ./... && go -C test test\n"} {
		if !strings.Contains(string(text), command) {
			t.Errorf("the README lacks the command %q", strings.TrimSpace(command))
		}
	}
}

// testsByPackage returns the names of all tests and fuzz targets by package directory.
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

// The commands in docs/reliability.md, `T PATTERN` and `P PATTERN PACKAGE...`, run tests that
// exist: every alternative of the pattern, and every package.
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

// docs/threat-model.md names each test behind its package, or behind none for proxy/, and fuzz
// targets without a package.
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
				t.Errorf("docs/threat-model.md: %s does not exist", name)
			}
		case !slices.Contains(tests[dir], name):
			t.Errorf("docs/threat-model.md: %s/ has no %s", dir, name)
		}
	}
}

// section returns the section of docs/design.md with that heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/design.md has no section %q", heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// Each room imports only rooms below it in the picture, and the picture has all rooms, except for
// some in internal/.
func TestRoomsInDesign(t *testing.T) {
	var rooms []string
	for _, m := range regexp.MustCompile(`(?m)^ {4,}([\w/]+)/ `).FindAllStringSubmatch(section(t, "Rooms"), -1) {
		rooms = append(rooms, m[1])
	}
	room := func(dir string) int {
		best := -1
		for i, r := range rooms {
			if (dir == r || strings.HasPrefix(dir, r+"/")) && (best < 0 || len(r) > len(rooms[best])) {
				best = i
			}
		}
		return best
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		dir := filepath.ToSlash(filepath.Dir(path))
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == "test":
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || dir == ".":
			return nil
		case room(dir) < 0 && !strings.HasPrefix(dir, "internal/"):
			t.Errorf("docs/design.md has no room for %s", path)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			to, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), "bip324proxy/")
			if from, to := room(dir), room(to); ours && from >= 0 && to >= 0 && to < from {
				t.Errorf("%s imports %s, which is above it in docs/design.md", path, rooms[to])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The functions named in the flows of docs/design.md exist.
func TestNamesInDesign(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			code.Write(text)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(?:(\\w+)\\.)?(\\w+)`").FindAllStringSubmatch(section(t, "Seven ways through"), -1)
	if len(names) < 40 {
		t.Errorf("only %d names found", len(names))
	}
	for _, m := range names {
		of, name := regexp.QuoteMeta(m[1]), regexp.QuoteMeta(m[2])
		pattern := `(?m)^func (\(\w+ \*?` + of + `\) )?` + name + `\(|^(type|var) ` + name + `\b`
		if of == "" {
			pattern += `|^func \(\w+ \*?\w+\) ` + name + `\(`
		}
		if of == "Config" {
			pattern = `(?m)^\t` + name + ` `
		}
		if m[2] != "status" && m[2] != "check" && !regexp.MustCompile(pattern).MatchString(code.String()) {
			t.Errorf("docs/design.md: %s does not exist", m[0])
		}
	}
}
