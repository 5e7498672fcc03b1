package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runIn runs a program in dir, with more environment variables, and returns its output.
func runIn(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(c.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// needs skips the test unless these programs are installed.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			notRun(t, "%s is not installed", program)
		}
	}
}

// copyTree copies the repository's files as they are now, and makes it a repository with one commit.
func copyTree(t *testing.T) string {
	t.Helper()
	needs(t, "git", "bash")
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	files, err := list.Output()
	if err != nil {
		notRun(t, "this is not a git repository")
	}
	tree := t.TempDir()
	for _, name := range strings.FieldsFunc(string(files), func(r rune) bool { return r == 0 }) {
		from, to := filepath.Join("..", name), filepath.Join(tree, name)
		info, err := os.Stat(from)
		if os.IsNotExist(err) {
			continue // removed, and not committed
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	runIn(t, tree, nil, "git", "init", "-q")
	commit(t, tree)
	return tree
}

func commit(t *testing.T, tree string) {
	t.Helper()
	runIn(t, tree, nil, "git", "add", "-A")
	runIn(t, tree, nil, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "all")
}

// After packaging/rename-module, the tree is a module of the new path: it builds, is formatted and
// passes the tests of its structure, and another module can fetch it. It is renamed again, as for a
// second major version, and back.
func TestRenameModule(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	old := runIn(t, tree, nil, "go", "list", "-m")
	const owner = "github.com/someone" // the command must not find the whole path here
	path, v2 := owner+"/bip324-proxy", owner+"/bip324-proxy/v2"
	// One processor is left to other tests, which wait for timers. Without -trimpath, the standard library is compiled
	// already.
	env := []string{"GOFLAGS=-buildvcs=false", "GOMAXPROCS=1"}

	rename(t, tree, path)
	for line := range strings.Lines(left(tree, old)) {
		if !strings.Contains(line, "/"+old) { // not part of a URL
			t.Errorf("the old path is left in %s", line)
		}
	}
	libraryPage(t, tree, path)
	runIn(t, tree, env, "go", "list", "-deps", "-test", "./...") // every import is found
	runIn(t, tree, env, "go", "-C", "test", "list", "-deps", "-test", "./...")
	runIn(t, tree, env, "go", "test", ".")
	versionIsSet(t, tree, env)
	commit(t, tree)
	fetchAndRun(t, tree, path)

	rename(t, tree, v2)
	runIn(t, tree, env, "go", "list", "-deps", "./...")
	runIn(t, tree, env, "go", "-C", "test", "list", "-deps", "-test", "./...")
	rename(t, tree, path)
	if differ := runIn(t, tree, nil, "git", "status", "--short"); differ != "" {
		t.Errorf("renamed to %s and back, these files differ:\n%s", v2, differ)
	}
}

// libraryPage checks that docs/library.md says how to fetch the module, and no longer that Go cannot.
func libraryPage(t *testing.T, tree, path string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(tree, "docs", "library.md"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"\n`go get " + path + "/transport/fallback` adds it":                   true,
		"\nThen run these commands.\n\n    go mod init headers\n    go get . ": true,
		"replace": false, "clone": false, "can fetch": false, "rename-module": false,
	} {
		if strings.Contains(string(page), text) != want {
			t.Errorf("docs/library.md contains %q: %v, want %v", text, !want, want)
		}
	}
}

// versionIsSet builds the program with the linker's flag as each kind of package has it.
func versionIsSet(t *testing.T, tree string, env []string) {
	t.Helper()
	flag := regexp.MustCompile(`-X (\S+)=`)
	flags := make(map[string]bool)
	for _, file := range []string{"build", "Dockerfile", "homebrew/bip324-proxy.rb", "nix/package.nix"} {
		text, err := os.ReadFile(filepath.Join(tree, "packaging", file))
		if err != nil {
			t.Fatal(err)
		}
		match := flag.FindSubmatch(text)
		if match == nil {
			t.Fatalf("packaging/%s sets no version", file)
		}
		flags[string(match[1])] = true
	}
	for name := range flags {
		if out := runIn(t, tree, env, "go", "run", "-ldflags", "-X "+name+"=1.2.3", ".", "--version"); !strings.Contains(out, "1.2.3") {
			t.Errorf("-X %s sets no version: %s", name, out)
		}
	}
}

// left returns the lines that contain path, except those where it names a program or a Java package.
func left(tree, path string) string {
	c := exec.Command("git", "grep", "-nIF", path, "--", ":!setup/processes.go", ":!test/testdata/bitcoinj")
	c.Dir = tree
	out, _ := c.Output() // it fails if there are none
	return string(out)
}

// rename runs packaging/rename-module twice: the second run changes nothing.
func rename(t *testing.T, tree, path string) {
	t.Helper()
	if out := runIn(t, tree, nil, "bash", "packaging/rename-module", path); !strings.Contains(out, "is now "+path) {
		t.Errorf("got %s", out)
	}
	if unformatted := runIn(t, tree, nil, "gofmt", "-l", "."); unformatted != "" {
		t.Errorf("not formatted: %s", unformatted)
	}
	if out := runIn(t, tree, nil, "bash", "packaging/rename-module", path); out != "the module is "+path+" already" {
		t.Errorf("the second run: %s", out)
	}
}

// fetchAndRun tags the tree's commit and lets the go command fetch it in an empty directory, as it fetches from
// github.com: git is told to find the repository in tree, and can use no network.
func fetchAndRun(t *testing.T, tree, path string) {
	t.Helper()
	const version = "v0.1.0"
	runIn(t, tree, nil, "git", "tag", version)
	sums, err := os.ReadFile(filepath.Join(tree, "go.sum")) // of the modules it requires, so that no checksum database is needed
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(tree, "test", "testdata", "importer", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"main.go": program, "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fileURL := func(path string) string { return "file:///" + strings.TrimPrefix(filepath.ToSlash(path), "/") }
	cache := fileURL(runIn(t, tree, nil, "go", "env", "GOMODCACHE")) + "/cache/download"
	env := []string{
		"GOMAXPROCS=1", "GOMODCACHE=" + t.TempDir(), "GOFLAGS=-mod=mod -modcacherw -buildvcs=false",
		"GOPRIVATE=" + path, "GOPROXY=" + cache + "," + runIn(t, tree, nil, "go", "env", "GOPROXY"),
		"GIT_ALLOW_PROTOCOL=file", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=url." + fileURL(tree) + ".insteadOf", "GIT_CONFIG_VALUE_0=https://" + path,
	}
	runIn(t, dir, env, "go", "mod", "init", "example.org/importer")
	runIn(t, dir, env, "go", "get", path+"@"+version)
	if got := runIn(t, dir, env, "go", "run", "."); got != "true 12345678 true" {
		t.Errorf("the program printed %q", got)
	}
	linked := strings.Fields(runIn(t, dir, env, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "."))
	slices.Sort(linked)
	linked = slices.Compact(linked)
	if want := []string{path, "golang.org/x/crypto", "golang.org/x/sys"}; !slices.Equal(linked, want) {
		t.Errorf("the program links %v, want %v", linked, want)
	}
}

// packaging/rename-module refuses each path that the go command finds malformed, and those from which nobody could
// import the packages. A refusal changes nothing.
func TestRenameModulePath(t *testing.T) {
	t.Parallel()
	needs(t, "bash")
	script, err := os.ReadFile("../packaging/rename-module")
	if err != nil {
		t.Fatal(err)
	}
	const goMod = "module example.net/old\n\ngo 1.26.0\n"
	for path, useless := range map[string]bool{ // well-formed, but of no use
		"github.com/a/b": false, "github.com/A/b_c~d": false, "github.com/a/b/v2": false, "codeberg.org/a/b-c.d/v10": false,
		"example.org": false, "example.org/v2": false, "github.com/a/b/v": false, "github.com/a/v2/b": false, "github.com/a/x~y": false,
		"foo": false, "": false, "https://github.com/a/b": false, "github.com//b": false, "/a": false, "github.com/a/": false,
		"github.com/a b": false, "Github.com/a/b": false, "a_b.org/x": false, "github.com/a/é": false, "github.com/a/b+c": false,
		"github.com/a/.b": false, "github.com/a/b.": false, "github.com/a/b/v0": false, "github.com/a/b/v1": false,
		"github.com/a/b/v02": false, "github.com/a/b/v2.1": false, "github.com/a/CON": false, "github.com/a/com1.x": false,
		"github.com/a/x~1": false, "github.com/a/x~1.y": false,
		"github.com/a/b@v1": true, "gopkg.in/x.v2": true, "github.com/internal/x": true, "github.com/a/vendor/x": true,
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "packaging"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"packaging/rename-module": script, "go.mod": []byte(goMod)} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		look := exec.Command("go", "list", "-m", path+"@latest")
		look.Dir, look.Env = dir, append(os.Environ(), "GOPROXY=off", "GOPRIVATE=", "GONOPROXY=", "GOFLAGS=-mod=mod")
		answer, _ := look.CombinedOutput() // it always fails
		valid := strings.Contains(string(answer), "GOPROXY=off") && !useless

		c := exec.Command("bash", "packaging/rename-module", path)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if (err == nil) != valid {
			t.Errorf("%q: %v\n%s\nthe go command: %s", path, err, out, answer)
		}
		want := goMod
		if valid {
			want = strings.Replace(goMod, "example.net/old", path, 1)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil || string(got) != want {
			t.Errorf("%q: go.mod is %q, %v", path, got, err)
		}
	}
}
