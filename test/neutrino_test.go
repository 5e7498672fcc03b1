package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
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
	path := buildNeutrino(t)
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

// With the package's dialer neutrino needs no proxy: it speaks v2 to the node itself, and nothing readable leaves it.
func TestNeutrinoWithDialer(t *testing.T) {
	t.Parallel()
	path := buildNeutrino(t)
	var wire *recorder
	followDirectly(t, func(block tip) tip { return block }, func(node string) *program {
		wire = startRecorder(t, node)
		return start(t, "neutrino", path, "--datadir", t.TempDir(), "--connect", wire.addr, "--until", strconv.Itoa(lastTip))
	})
	for _, conn := range wire.connections() {
		requireUnreadable(t, conn, &chaincfg.RegressionNetParams)
	}
}

// buildNeutrino builds the light client and returns its path.
func buildNeutrino(t *testing.T) string {
	t.Helper()
	otherProgram(t)
	path := filepath.Join(t.TempDir(), "neutrino"+exe)
	if out, err := exec.Command("go", "-C", "neutrino", "build", "-o", path).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}
