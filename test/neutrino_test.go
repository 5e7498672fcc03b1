package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// neutrino is the light client in lnd and other programs: it speaks v1 only and follows the chain by compact filters.
// It is tested with the file in docs/clients.md, and as lnd uses it: with lnd's dialer, which sends new credentials
// for each connection, and with Tor's RESOLVE, even for addresses.
func TestNeutrino(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("neutrino/proxy.go")
	if err != nil {
		t.Fatal(err)
	}
	if code := recipe(t, "neutrino", "package main"); lf(source) != code {
		t.Fatalf("neutrino/proxy.go is not this file of docs/clients.md:\n%s", code)
	}
	path := filepath.Join(t.TempDir(), "neutrino"+exe)
	if out, err := exec.Command("go", "-C", "neutrino", "build", "-o", path).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, c := range []struct {
		name    string
		flag    string
		connect func(node string) string
	}{
		{"address", "--lnd=false", func(node string) string { return node }},
		{"name", "--lnd=false", func(node string) string { return "localhost:" + port(t, node) }},
		{"address as in lnd", "--lnd", func(node string) string { return node }},
		{"name as in lnd", "--lnd", func(node string) string { return "localhost:" + port(t, node) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			follow(t, func(block tip) tip { return block }, func(proxy, node string) *program {
				return start(t, "neutrino", path, c.flag, "--datadir", t.TempDir(), "--proxy", proxy,
					"--connect", c.connect(node), "--until", strconv.Itoa(lastTip))
			})
		})
	}
}
