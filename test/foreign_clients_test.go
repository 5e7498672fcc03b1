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
	toolchain(t, "node", "npm")
	dir := cached(t, "bcoin", func(dir string) error {
		return install(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") // runs no package scripts
	})
	follow(t, headersOnly, func(proxy, node string) *program {
		return start(t, "bcoin", "node", append([]string{filepath.Join(dir, "driver.js"), "--only=" + node,
			"--until=" + strconv.Itoa(lastTip)}, recipeArgs(t, "bcoin", "bcoin", proxy)...)...)
	})
}

// kyoto, in Rust, speaks v2 itself, but not through a proxy.
func TestKyoto(t *testing.T) {
	t.Parallel()
	toolchain(t, "cargo")
	// The program is compiled once, for a proxy at any port, and first without the recipe, which must compile, too.
	code := "{\n" + strings.Replace(recipe(t, "kyoto", "let builder ="), "], 1324)", "], port)", 1) + "builder\n}\n"
	const file = "src/recipe.rs"
	dir := cachedWith(t, "kyoto", fstest.MapFS{file: {Data: []byte(code), Mode: 0o644}}, func(dir string) error {
		target := filepath.Join(dir, "target")
		build := func(code string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, file), []byte(code), 0o644),
				install(t, dir, "cargo", "build", "--target-dir", target))
		}
		if err := build("builder"); err != nil {
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
			follow(t, func(block tip) tip { block.FilterHeader = ""; return block }, func(proxy, node string) *program {
				return start(t, "kyoto", filepath.Join(dir, "kyoto"+exe), port(t, proxy), c.connect(node), strconv.Itoa(lastTip))
			})
		})
	}
}

// bitcoinj, in Java, has no proxy setting: all its connections go through the Java runtime's proxy.
func TestBitcoinj(t *testing.T) {
	t.Parallel()
	toolchain(t, "java", "javac", "mvn")
	source, err := sources.ReadFile("testdata/bitcoinj/Client.java")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(recipe(t, "bitcoinj", "BlockingClientManager ")) {
		if !strings.Contains(lf(source), strings.TrimSpace(line)) {
			t.Errorf("Client.java lacks this line of docs/clients.md: %s", line)
		}
	}
	dir := cached(t, "bitcoinj", func(dir string) error {
		if err := install(t, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=."); err != nil {
			return err
		}
		if err := install(t, dir, "javac", "-proc:none", "-cp", "*", "Client.java"); err != nil {
			t.Fatal(err)
		}
		return nil
	})
	follow(t, headersOnly, func(proxy, node string) *program {
		line := strings.TrimSuffix(recipe(t, "bitcoinj", "java "), " …\n") // the port is a separate option
		flags := strings.Fields(strings.Replace(line, "Port=1324", "Port="+port(t, proxy), 1))[1:]
		return start(t, "bitcoinj", "java", append(flags, "-cp", dir+string(filepath.ListSeparator)+filepath.Join(dir, "*"),
			"Client", node, strconv.Itoa(lastTip))...)
	})
}

// headersOnly returns what a client prints that has only headers, or only the requested part of a block.
func headersOnly(block tip) tip { return tip{Height: block.Height, Hash: block.Hash} }
