package test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// bcoin's SPV node, of JavaScript.
func TestBcoin(t *testing.T) {
	t.Parallel()
	toolchain(t, "node", "npm")
	dir := cached(t, "bcoin", func(dir string) error {
		return install(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") // runs none of their code
	})
	follow(t, headersOnly, func(proxy, node string) *program {
		return start(t, "bcoin", "node", filepath.Join(dir, "driver.js"), proxy, node, strconv.Itoa(lastTip))
	})
}

// kyoto, of Rust, speaks v2 by itself, but not if it is told to use a proxy.
func TestKyoto(t *testing.T) {
	t.Parallel()
	toolchain(t, "cargo")
	dir := cached(t, "kyoto", func(dir string) error {
		target := filepath.Join(dir, "target")
		if err := install(t, dir, "cargo", "build", "--target-dir", target); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(target, "debug", "kyoto"+exe), filepath.Join(dir, "kyoto"+exe)); err != nil {
			return err
		}
		return os.RemoveAll(target) // far more than the program
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
				return start(t, "kyoto", filepath.Join(dir, "kyoto"+exe), proxy, c.connect(node), strconv.Itoa(lastTip))
			})
		})
	}
}

// bitcoinj, of Java, has no setting for a proxy: all its connections go through the Java runtime's.
func TestBitcoinj(t *testing.T) {
	t.Parallel()
	toolchain(t, "java", "javac", "mvn")
	dir := cached(t, "bitcoinj", func(dir string) error {
		if err := install(t, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=."); err != nil {
			return err
		}
		return install(t, dir, "javac", "-proc:none", "-cp", "*", "Client.java")
	})
	follow(t, headersOnly, func(proxy, node string) *program {
		host, port, _ := strings.Cut(proxy, ":")
		return start(t, "bitcoinj", "java", "-cp", dir+string(filepath.ListSeparator)+filepath.Join(dir, "*"),
			"-DsocksProxyHost="+host, "-DsocksProxyPort="+port,
			"-DsocksNonProxyHosts=", // or loopback would go around the proxy
			"Client", node, strconv.Itoa(lastTip))
	})
}

// headersOnly is what a client tells that has only headers, or only the part of a block that it asked for.
func headersOnly(block tip) tip { return tip{Height: block.Height, Hash: block.Hash} }
