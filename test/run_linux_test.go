package test

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/test/hostile"
)

// ordinaryUser is a user without any rights.
const ordinaryUser = 4242

// Programs without a proxy setting reach the node in v2: dynamic and static, by address and by name, as root and as an
// ordinary user. Go programs are in TestRunBtcd.
func TestRunReachesNode(t *testing.T) {
	t.Parallel()
	requireInstalled(t, "gcc", python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) { w.reachByAll(t) })
}

// reachByAll lets all plain clients reach the node, by each address and name, as root and not.
func (w *runWorld) reachByAll(t *testing.T) {
	t.Helper()
	clients := plainClients(t)
	for _, uid := range []int{0, ordinaryUser} {
		for name, client := range clients {
			for _, host := range []string{runNode4, runNode6, runName4, runName6} {
				t.Run(fmt.Sprintf("%s/user %d/%s", name, uid, host), func(t *testing.T) {
					w.reach(t, uid, client, host)
				})
			}
		}
	}
}

// Without run, the eavesdropper reads what the same clients send: else the other tests would prove nothing.
func TestRunWorldHearsPlaintext(t *testing.T) {
	t.Parallel()
	requireInstalled(t, "gcc", python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		w.bare = true
		clients := plainClients(t)
		for name, client := range clients {
			cmd := exec.Command(client[0], append(client[1:], runName4, w.port)...)
			cmd.Stdin = bytes.NewReader(versionFrom(t))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
		}
		if _, plain := w.heard(&chaincfg.RegressionNetParams); len(plain) != 2*len(clients) { // two directions
			t.Errorf("of %d clients the eavesdropper reads %d streams:\n%s", len(clients), len(plain), strings.Join(plain, "\n"))
		}
	})
}

// reach runs a client of plainClients, which must reach the node at host in v2.
func (w *runWorld) reach(t *testing.T, uid int, client []string, host string, more ...string) {
	t.Helper()
	r, code, stdout := runOnce(t, uid, versionFrom(t), append(w.move(), w.flags...), slices.Concat(client, []string{host, w.port}, more)...)
	if code != 0 {
		t.Fatalf("got exit code %d", code)
	}
	name, payload, err := hostile.ReadV1On(regtestMagic, bytes.NewReader(stdout))
	if err != nil || name != "version" || !bytes.Contains(payload, []byte("/btcd")) {
		t.Errorf("the client got %s (%v) %q", name, err, payload)
	}
	w.requireV2(t, r, w.at(addressOf(host)))
}

// addressOf returns the address of the node to which a name leads, or the address itself.
func addressOf(host string) string {
	return strings.NewReplacer(runName4, runNode4, runName6, runNode6).Replace(host)
}

// plainClients returns the commands of clients that have no proxy setting, which any user can run.
func plainClients(t *testing.T) map[string][]string {
	t.Helper()
	dir := dirOf(t, ordinaryUser)
	clients := make(map[string][]string)
	for name, flags := range map[string][]string{"dynamic C": nil, "static C": {"-static"}} {
		path := filepath.Join(dir, strings.Fields(name)[0])
		command(t, "gcc", append(flags, "-w", "-o", path, "testdata/direct/client.c")...)
		clients[name] = []string{path}
	}
	clients["Python"] = []string{python, copyTo(t, dir, "testdata/direct/client.py")}
	return clients
}

// python is the system's, which any user can run.
const python = "/usr/bin/python3"

// copyTo copies a file of the tests to where any user can read it.
func copyTo(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(file))
	writeFile(t, path, string(text))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// versionFrom returns the VERSION message, in v1, of a client of regtest.
func versionFrom(t *testing.T) []byte {
	t.Helper()
	noAddr := &wire.NetAddress{IP: make([]byte, 16)}
	version := wire.NewMsgVersion(noAddr, noAddr, uint64(time.Now().UnixNano()), 0)
	version.UserAgent = "/without a proxy setting:1/"
	var b bytes.Buffer
	if err := wire.WriteMessage(&b, version, wire.ProtocolVersion, wire.TestNet); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// requireInstalled skips the test unless the programs are installed.
func requireInstalled(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			notRun(t, "%s is missing; apt-get install %s", name, cmp.Or(map[string]string{"setpriv": "util-linux", python: "python3"}[name], name))
		}
	}
}
