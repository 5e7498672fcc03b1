package test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// Recipes of programs that take too long to build use settings that the released source defines.
func TestDaemonFlags(t *testing.T) {
	for _, c := range []struct {
		section, program, module, sum string
		groups                        map[string]string // namespace → file with its settings
		files                         []string          // with settings without a namespace
		conf                          string            // prefix of the recipe for its file
	}{
		{section: "utreexod", program: "utreexod", module: "github.com/utreexo/utreexod@v0.6.0",
			sum: "h1:178ULeLkpWgyV+fhxHPsiAH6PPdE8LxALYdL2I3unsU=", files: []string{"config.go"},
			conf: "[Application Options]"},
		{section: "lnd", program: "lnd", module: lndModule, sum: lndSum,
			groups: map[string]string{"tor": "lncfg/tor.go", "bitcoin": "lncfg/chain.go"}, conf: "[Bitcoin]"},
	} {
		t.Run(c.section, func(t *testing.T) {
			dir := moduleSource(t, c.module, c.sum)
			settings := make(map[string]string) // name → kind
			for _, file := range c.files {
				maps.Copy(settings, longFlags(t, filepath.Join(dir, file), ""))
			}
			for namespace, file := range c.groups {
				maps.Copy(settings, longFlags(t, filepath.Join(dir, file), namespace+"."))
			}
			for _, arg := range recipeArgs(t, c.section, c.program, proxyOnPage) {
				name, _, hasValue := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
				if kind, ok := settings[name]; !ok || hasValue == (kind == "bool") {
					t.Errorf("%s of docs/clients.md: %s: the setting is unknown, takes no value, or needs one", arg, c.module)
				}
			}
			for line := range strings.Lines(recipeAt(t, c.section, c.conf, proxyOnPage)) {
				name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
				_, notBool := strconv.ParseBool(value)
				if kind := settings[name]; ok && (kind == "" || kind == "bool" && notBool != nil) {
					t.Errorf("%s of docs/clients.md: %s: the setting or its value is unknown", line, c.module)
				}
			}
		})
	}
}

// moduleSource returns the source directory of a module, whose checksum must be sum.
func moduleSource(t *testing.T, module, sum string) string {
	t.Helper()
	otherProgram(t)
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir() // outside of any module
	out, err := cmd.Output()
	if err != nil {
		notRun(t, "%s cannot be downloaded: %v\n%s", module, err, out)
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Sum != sum {
		t.Fatalf("%s has checksum %s, want %s", module, got.Sum, sum)
	}
	return got.Dir
}

// longFlags returns the settings that the structs of a Go file define for go-flags: the kind of each, by name.
func longFlags(t *testing.T, path, prefix string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	settings := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok || field.Tag == nil {
			return true
		}
		tag, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		if name := reflect.StructTag(tag).Get("long"); name != "" {
			kind, _ := field.Type.(*ast.Ident)
			if kind == nil {
				kind = ast.NewIdent("other")
			}
			settings[prefix+name] = kind.Name
		}
		return true
	})
	if len(settings) == 0 {
		t.Fatalf("%s defines no settings", path)
	}
	return settings
}
