package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// libraries are the packages for other programs, below the module's path.
var libraries = []string{"transport", "transport/fallback", "v1v2", "socks", "proxy", "rules"}

// goList returns what go list prints.
func goList(t *testing.T, goos string, args ...string) string {
	t.Helper()
	c := exec.Command("go", append([]string{"list"}, args...)...)
	c.Env = append(c.Environ(), "GOOS="+goos)
	out, err := c.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The libraries that know nothing of this program link no module but these two, on any system.
func TestLibrariesLink(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows", "freebsd"} {
		for _, library := range []string{"transport", "transport/fallback", "v1v2", "socks"} {
			t.Run(goos+"/"+library, func(t *testing.T) {
				t.Parallel()
				modules := strings.Fields(goList(t, goos, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./"+library))
				slices.Sort(modules)
				allowed := []string{"bip324proxy", "golang.org/x/crypto", "golang.org/x/sys"}
				for _, module := range slices.Compact(modules) {
					if !slices.Contains(allowed, module) {
						t.Errorf("it links %s", module)
					}
				}
				if len(modules) == 0 {
					t.Error("go list named no module")
				}
			})
		}
	}
}

// No exported name leads to a type of an internal package: another module could not write it down.
func TestAPIHasNoInternalTypes(t *testing.T) {
	exports := make(map[string]string) // files with the types, by package
	var public []string
	list := goList(t, runtime.GOOS, "-export", "-deps", "-json=ImportPath,Name,Export", "./...")
	for decoder := json.NewDecoder(strings.NewReader(list)); ; {
		var p struct{ ImportPath, Name, Export string }
		if err := decoder.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, "bip324proxy/") && p.Name != "main" && !isInternal(p.ImportPath) {
			public = append(public, p.ImportPath)
		}
	}
	for _, library := range libraries {
		if !slices.Contains(public, "bip324proxy/"+library) {
			t.Errorf("there is no package %s: got %v", library, public)
		}
	}
	load := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	walk := apiWalk{module: "bip324proxy", seen: make(map[types.Type]bool)}
	for _, path := range public {
		p, err := load.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		walk.pkg(p)
	}
	for _, found := range walk.found {
		t.Error(found)
	}
}

// apiWalk finds internal types wherever an API can have one, and only there.
func TestAPIWalk(t *testing.T) {
	const hidden, open = `package internal
type Hidden struct{ size int }
func (Hidden) Size() int { return 0 }
type Generic[T any] struct{}
`, `package api
import "example.org/m/internal"
type (
	OK         internal.Hidden
	OKFields   struct { hidden internal.Hidden; err error; any }
	OKMethods  struct { list []internal.Hidden }
	ok         struct { internal.Hidden }
	Alias      = internal.Hidden
	Field      struct { F map[string]*internal.Hidden }
	Embedded   struct { internal.Hidden }
	Interface  interface { Do(chan internal.Hidden) }
	Union      interface { int | []internal.Hidden }
	Param[T interface { internal.Hidden }] struct{}
	Args       []internal.Generic[int]
	Promoted   struct { promoted }
	promoted   struct{}
	Unexported struct{ U unexported }
	unexported struct{ F func(internal.Hidden) }
	Method     struct{}
)
func (*OKMethods) hidden(internal.Hidden) {}
func (promoted) Do(...internal.Hidden) {}
func (*Method) Do() (n int, h [2]internal.Hidden) { return }
func OKFunc(OK) error { return nil }
func Func(struct { F internal.Hidden }) {}
var Var internal.Hidden
`
	fset := token.NewFileSet()
	packages := make(map[string]*types.Package)
	for _, source := range []struct{ path, text string }{{"example.org/m/internal", hidden}, {"example.org/m/api", open}} {
		file, err := parser.ParseFile(fset, source.path, source.text, 0)
		if err != nil {
			t.Fatal(err)
		}
		config := types.Config{Importer: importFunc(func(path string) (*types.Package, error) { return packages[path], nil })}
		if packages[source.path], err = config.Check(source.path, fset, []*ast.File{file}, nil); err != nil {
			t.Fatal(err)
		}
	}
	walk := apiWalk{module: "example.org/m", seen: make(map[types.Type]bool)}
	walk.pkg(packages["example.org/m/api"])
	found := make(map[string]bool)
	for _, line := range walk.found {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "api."), ":")
		name, _, _ = strings.Cut(name, ".")
		found[name] = true
	}
	want := []string{"Alias", "Args", "Embedded", "Field", "Func", "Interface", "Method", "Param", "Promoted", "Unexported", "Union", "Var"}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v:\n%s", got, want, strings.Join(walk.found, "\n"))
	}
}

type importFunc func(path string) (*types.Package, error)

func (f importFunc) Import(path string) (*types.Package, error) { return f(path) }

// Each exported name of the libraries has a comment that begins with it; those in a group may share one.
func TestAPIComments(t *testing.T) {
	for _, dir := range libraries {
		comments := make(map[string]bool) // whether a name has one, in any file: systems have files of their own
		paths, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: got %v, %v", dir, paths, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			comments["package"] = comments["package"] || strings.HasPrefix(file.Doc.Text(), "Package "+file.Name.Name+" ")
			for _, d := range file.Decls {
				noteComments(comments, d)
			}
		}
		for name, ok := range comments {
			if !ok {
				t.Errorf("%s: %s has no comment that begins with its name", dir, name)
			}
		}
	}
}

// noteComments notes which exported names d declares, and whether they have comments.
func noteComments(comments map[string]bool, d ast.Decl) {
	note := func(name *ast.Ident, of string, ok bool) {
		if name.IsExported() {
			comments[of+name.Name] = comments[of+name.Name] || ok
		}
	}
	begins := func(doc *ast.CommentGroup, name *ast.Ident) bool {
		return regexp.MustCompile(`^((A|An|The) )?` + name.Name + `\b`).MatchString(doc.Text())
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		of := ""
		if d.Recv != nil {
			of = strings.TrimPrefix(types.ExprString(d.Recv.List[0].Type), "*") + "."
		}
		if of == "" || token.IsExported(of) && d.Name.Name != "Error" && d.Name.Name != "Unwrap" {
			note(d.Name, of, begins(d.Doc, d.Name))
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				note(spec.Name, "", begins(spec.Doc, spec.Name) || !d.Lparen.IsValid() && begins(d.Doc, spec.Name))
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					note(name, "", begins(spec.Doc, name) || d.Lparen.IsValid() && (d.Doc != nil || spec.Comment != nil) || begins(d.Doc, name))
				}
			}
		}
	}
}
