package test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// bcoin's SPV node, in JavaScript.
func TestBcoin(t *testing.T) {
	t.Parallel()
	dir := installBcoin(t)
	for _, byFile := range []bool{false, true} {
		t.Run(map[bool]string{false: "flags", true: "file"}[byFile], func(t *testing.T) {
			follow(t, headersOnly, func(proxy, node string) *program {
				home := t.TempDir()
				args := []string{filepath.Join(dir, "driver.js"), "--prefix=" + home, "--only=" + node, "--until=" + strconv.Itoa(lastTip)}
				if byFile {
					if err := os.Mkdir(filepath.Join(home, "regtest"), 0o700); err != nil {
						t.Fatal(err)
					}
					writeFile(t, filepath.Join(home, "regtest", "bcoin.conf"), recipeAt(t, "bcoin", "proxy:", proxy))
				} else {
					args = append(args, recipeArgs(t, "bcoin", "bcoin", proxy)...)
				}
				return start(t, "bcoin", "node", args...)
			})
		})
	}
}

// installBcoin returns the directory of bcoin and its driver.
func installBcoin(t *testing.T) string {
	t.Helper()
	toolchain(t, "node", "npm")
	return cached(t, "bcoin", func(dir string) error {
		return install(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") // runs no package scripts
	})
}

// kyoto, in Rust, speaks v2 itself, but not through a proxy.
func TestKyoto(t *testing.T) {
	t.Parallel()
	toolchain(t, "cargo")
	manifest, err := sources.ReadFile("testdata/kyoto/Cargo.toml")
	if err != nil {
		t.Fatal(err)
	}
	if lines := recipe(t, "kyoto", "[dependencies]"); !strings.Contains(lf(manifest), lines) {
		t.Fatalf("Cargo.toml lacks these lines of docs/clients.md:\n%s", lines)
	}
	const file = "src/bin/recipe.rs" // a program by itself, and a module of the client
	code := recipe(t, "kyoto", "use ")
	dir := cachedWith(t, "kyoto", fstest.MapFS{file: {Data: []byte(code), Mode: 0o644}}, func(dir string) error {
		target := filepath.Join(dir, "target")
		build := func(code string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, file), []byte(code), 0o644),
				install(t, dir, "cargo", "build", "--locked", "--target-dir", target))
		}
		const none = "pub fn through_proxy(b: bip157::Builder, _: std::net::SocketAddr) -> bip157::Builder { b }\nfn main() {}\n"
		if err := build(none); err != nil {
			return err
		}
		if err := build(code); err != nil {
			t.Fatalf("the recipe of docs/clients.md: %v", err)
		}
		if err := os.Rename(filepath.Join(target, "debug", "kyoto"+exe), filepath.Join(dir, "kyoto"+exe)); err != nil {
			return err
		}
		return os.RemoveAll(target) // much larger than the program
	})
	for _, c := range []struct {
		name    string
		connect func(node string) string
	}{
		{"address", func(node string) string { return node }},
		{"name", func(node string) string { return "localhost:" + port(t, node) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			follow(t, filtersOnly, func(proxy, node string) *program {
				return start(t, "kyoto", filepath.Join(dir, "kyoto"+exe), proxy, c.connect(node), strconv.Itoa(lastTip))
			})
		})
	}
	t.Run("onion", func(t *testing.T) {
		followOnion(t, filtersOnly, func(proxy string) *program {
			return start(t, "kyoto", filepath.Join(dir, "kyoto"+exe), proxy, "onion:8333", strconv.Itoa(lastTip))
		})
	})
}

// filtersOnly returns what a client prints that does not keep the headers of filters.
func filtersOnly(block tip) tip { block.FilterHeader = ""; return block }

// bitcoinj, in Java, has no proxy setting: all its connections go through the Java runtime's proxy.
func TestBitcoinj(t *testing.T) {
	t.Parallel()
	path := installBitcoinj(t)
	follow(t, headersOnly, func(proxy, node string) *program {
		line := strings.TrimSuffix(recipe(t, "bitcoinj", "java "), " …\n") // the port is a separate option
		flags := strings.Fields(strings.Replace(line, "Port=1324", "Port="+port(t, proxy), 1))[1:]
		return start(t, "bitcoinj", "java", append(flags, "-cp", path, "Client", node, strconv.Itoa(lastTip))...)
	})
}

// installBitcoinj returns the class path of bitcoinj and the tests' client.
func installBitcoinj(t *testing.T) (path string) {
	t.Helper()
	toolchain(t, "java", "javac", "mvn")
	file := fstest.MapFS{"ThroughProxy.java": {Data: []byte(recipe(t, "bitcoinj", "import ")), Mode: 0o644}}
	dir := cachedWith(t, "bitcoinj", file, func(dir string) error {
		if err := install(t, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=."); err != nil {
			return err
		}
		if err := install(t, dir, "javac", "-proc:none", "-cp", "*", "Client.java", "ThroughProxy.java"); err != nil {
			t.Fatal(err)
		}
		return nil
	})
	return dir + string(filepath.ListSeparator) + filepath.Join(dir, "*")
}

// headersOnly returns what a client prints that has only headers, or only the requested part of a block.
func headersOnly(block tip) tip { return tip{Height: block.Height, Hash: block.Hash} }
