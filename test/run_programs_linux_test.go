package test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// nakamoto, in Rust, has no proxy setting.
func TestRunNakamoto(t *testing.T) {
	t.Parallel()
	toolchain(t, "cargo")
	dir := cached(t, "nakamoto", func(dir string) error {
		target := filepath.Join(dir, "target")
		return errors.Join(install(t, dir, "cargo", "build", "--locked", "--target-dir", target),
			os.Rename(filepath.Join(target, "debug", "nakamoto"), filepath.Join(dir, "nakamoto")),
			os.RemoveAll(target)) // much larger than the program
	})
	flags, args := runRecipe(t, "nakamoto", "nakamoto-node") // which the program here is but for its network
	if len(flags)+len(args) > 0 {
		t.Errorf("the test knows no settings, but the recipe has %q, %q", flags, args)
	}
	followUnderRun(t, func(node string) []string {
		return []string{filepath.Join(dir, "nakamoto"), t.TempDir(), node, strconv.Itoa(lastTip)}
	})
}

// bitcoinj's default connections ignore the proxy of the Java runtime.
func TestRunBitcoinj(t *testing.T) {
	t.Parallel()
	path := installBitcoinj(t)
	followUnderRun(t, func(node string) []string {
		return []string{"java", "-cp", path, "Client", node, strconv.Itoa(lastTip), "default"}
	})
}

// bcoin has a proxy setting, but needs none.
func TestRunBcoin(t *testing.T) {
	t.Parallel()
	dir := installBcoin(t)
	followUnderRun(t, func(node string) []string {
		return []string{"node", filepath.Join(dir, "driver.js"), "--prefix=" + t.TempDir(), "--only=" + node, "--until=" + strconv.Itoa(lastTip)}
	})
}

// followUnderRun tests a light client without a proxy setting, as followNode does.
func followUnderRun(t *testing.T, command func(node string) []string) {
	t.Helper()
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		var r *underRun
		followNode(t, w.node, headersOnly, func(node string) *program {
			r = startRun(t, 0, nil, command(node)...)
			return r.program
		})
		w.requireV2(t, r, w.node.p2p)
	})
}

// gocoin, in Go, has no proxy setting, and cannot be installed as a module. It has no regtest either: on testnet4 the node has
// nothing but the first block.
func TestRunGocoin(t *testing.T) {
	program := os.Getenv("GOCOIN")
	if program == "" {
		notRun(t, "gocoin is missing; GOCOIN=/path/to/client, built by go build ./client, runs it")
	}
	t.Parallel()
	inRunWorld(t, &chaincfg.TestNet4Params, func(w *runWorld) {
		dir := t.TempDir()
		flags, args := runRecipe(t, "gocoin", "./client")
		r := startRun(t, 0, flags, append(append([]string{program}, args...), "-t", "-cfg", filepath.Join(dir, "gocoin.conf"), "-d", dir,
			"-c", w.node.p2p, "-textui=false", "-nowallet")...)
		w.requireV2(t, r, w.node.p2p)
		eventually(t, "gocoin is the node's peer", func() bool { return len(ask[[]peer](t, w.node, "getpeerinfo")) == 1 })
		if p := w.node.onlyPeer(t); !p.V2 || !p.Inbound {
			t.Errorf("to the node gocoin is %+v, want an inbound v2 peer", p)
		}
		page, err := http.Get("http://127.0.0.1:8833/netcon.json")
		if err != nil {
			t.Fatal(err)
		}
		defer page.Body.Close()
		if text, err := io.ReadAll(page.Body); err != nil || !bytes.Contains(text, []byte(w.node.p2p)) {
			t.Errorf("its web interface says of its connections (%v):\n%s", err, text)
		}
	})
}
