package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// The public addresses of the node in a runWorld, and names that lead to one of them each.
const (
	runNode4, runNode6 = "203.0.113.7", "2001:db8::7"
	runName4, runName6 = "four.example", "six.example"
)

// runWorld is a network namespace that plays the internet for programs under `bip324-proxy run`: a node with public
// addresses, which speaks v2, and a DNS server. An eavesdropper hears all of it.
type runWorld struct {
	node  *node
	wire  *capture
	port  string          // of the node
	asked func() []string // the names that were looked up in DNS
	moves int
	flags []string // of run
	bare  bool     // something went around run, so plaintext is expected
}

// at returns the address of the node at host.
func (w *runWorld) at(host string) string { return net.JoinHostPort(host, w.port) }

// inRunWorld calls f in namespaces with a runWorld.
func inRunWorld(t *testing.T, params *chaincfg.Params, f func(w *runWorld)) {
	t.Helper()
	requireInstalled(t, "setpriv")
	if !namespace(t, syscall.CLONE_NEWPID) { // so nothing is left running
		return
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		notRun(t, "mounting /proc is not allowed here: %v", err)
	}
	useFile(t, "/etc/resolv.conf", "nameserver 127.0.0.53\n")
	useFile(t, "/etc/nsswitch.conf", "hosts: files dns\n")
	command(t, "ip", "addr", "add", runNode4+"/32", "dev", "lo")
	command(t, "ip", "addr", "add", runNode6+"/128", "dev", "lo", "nodad")
	command(t, "ip", "-6", "route", "add", "default", "dev", "lo") // so the machine has IPv6
	var addrs strings.Builder
	for n := range runMoves {
		four, six := runSources(n)
		fmt.Fprintf(&addrs, "addr add %s/32 dev lo\naddr add %s/128 dev lo nodad\n", four, six)
	}
	batch := filepath.Join(t.TempDir(), "addresses")
	writeFile(t, batch, addrs.String())
	command(t, "ip", "-batch", batch)
	for n := range runMoves {
		_, six := runSources(n)
		awaitAddress(t, six)
	}
	w := &runWorld{wire: startCapture(t), port: params.DefaultPort}
	w.asked = serveZone(t, map[string][]string{runName4 + ".": {runNode4}, runName6 + ".": {runNode6}})
	w.node = startBtcd(t, "node", params, "--listen="+w.at(runNode4), "--listen="+w.at(runNode6), "--v2transport", traceSessions,
		"--miningaddr="+newWallet(t, params).address.EncodeAddress(), "--connect=127.0.0.1:9") // it connects to no address that it hears of
	w.node.awaitLine(t, "it listens", func(line string) bool { return strings.Contains(line, "Server listening on "+runNode4) })
	w.node.p2p = w.at(runNode4)
	w.node.mine = func(n int) []string { return ask[[]string](t, w.node, "generate", n) }
	f(w)
	w.node.kill()
	if !w.bare {
		w.requireEncrypted(t, params)
	}
}

// runMoves is how often the machine of a runWorld can move to another network.
const runMoves = 40

// runSources returns the n-th addresses of the machine, each in a network of its own.
func runSources(n int) (four, six string) {
	return fmt.Sprintf("198.51.%d.1", n), fmt.Sprintf("2001:db8:1:%x::1", n)
}

// move returns the flags with which the proxy connects from other networks than before: btcd admits few handshakes a
// second from one.
func (w *runWorld) move() (flags []string) {
	w.moves++
	four, six := runSources(w.moves % runMoves)
	return []string{"--bind", four, "--bind", six}
}

// requireEncrypted checks that the eavesdropper heard the node and can read nothing of it.
func (w *runWorld) requireEncrypted(t *testing.T, params *chaincfg.Params) {
	t.Helper()
	heard, readable := w.heard(params)
	if heard == 0 {
		t.Error("the capture has nothing")
	}
	if len(readable) > 0 {
		t.Errorf("readable:\n%s", strings.Join(readable, "\n"))
	}
	if len(w.wire.other) > 0 {
		t.Errorf("packets other than TCP left: %v", w.wire.other)
	}
	t.Logf("the eavesdropper has %d bytes", heard)
}

// heard returns how many bytes the eavesdropper has, and what can be read of them.
func (w *runWorld) heard(params *chaincfg.Params) (n int, plain []string) {
	for f, b := range w.wire.streams() {
		if !f.outside() {
			continue
		}
		n += len(b)
		if names := readable(b); names != nil || bytes.HasPrefix(b, v1Header(params, "")[:4]) {
			plain = append(plain, fmt.Sprintf("from %v to %v, of %d bytes: %q", f.from, f.to, len(b), names))
		}
	}
	return n, plain
}

// requireV2 waits for the next session in the log, and for the node to say that it has the session, too.
func (w *runWorld) requireV2(t *testing.T, r *underRun, dest string) {
	t.Helper()
	opened := r.await(t, "session opened", func(e event) bool { return e.Msg == "session opened" && e.Dest == dest })
	if opened.Transport != "v2" {
		t.Errorf("the proxy logged %+v, want transport v2", opened)
	}
	w.node.awaitLine(t, "the session id "+opened.SessionID, func(line string) bool { return strings.Contains(line, "session_id="+opened.SessionID) })
}

// underRun is a command under `bip324-proxy run`. The program is the proxy; its output is the command's.
type underRun struct {
	*program
	log string // path of the proxy's log
}

// startRun runs a command under `bip324-proxy run` until the test ends, as the user with that id.
func startRun(t *testing.T, uid int, flags []string, command ...string) *underRun {
	t.Helper()
	r, line := runLine(t, uid, flags, command)
	r.program = start(t, filepath.Base(command[0])+" under run", line[0], line[1:]...)
	t.Cleanup(func() { r.end(t) })
	return r
}

// end ends the proxy, and with it the command.
func (r *underRun) end(t *testing.T) {
	t.Helper()
	r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Errorf("%s is still running %v after a SIGTERM", r.name, patience)
		syscall.Kill(-1, syscall.SIGKILL) // all of this PID namespace
	}
}

// underRunAt returns a program that runs another at path under `bip324-proxy run`.
func underRunAt(t *testing.T, uid int, flags []string, path string) (script string, r *underRun) {
	t.Helper()
	r, line := runLine(t, uid, flags, []string{path})
	script = filepath.Join(dirOf(t, uid), filepath.Base(path))
	writeFile(t, script, "#!/bin/sh\nexec '"+strings.Join(line, "' '")+"' \"$@\"\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	return script, r
}

// runOnce runs a command under `bip324-proxy run` to its end.
func runOnce(t *testing.T, uid int, stdin []byte, flags []string, command ...string) (r *underRun, code int, stdout []byte) {
	t.Helper()
	r, line := runLine(t, uid, flags, command)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Logf("%q: stderr:\n%s", command, &errs)
	}
	return r, cmd.ProcessState.ExitCode(), out.Bytes()
}

// runLine returns the command line of a command under `bip324-proxy run` as a user. If the test fails, the proxy's log
// is logged.
func runLine(t *testing.T, uid int, flags, command []string) (r *underRun, line []string) {
	t.Helper()
	home := dirOf(t, uid)
	r = &underRun{log: filepath.Join(home, "log")}
	t.Cleanup(func() {
		if log, err := os.ReadFile(r.log); t.Failed() && err == nil {
			t.Logf("the proxy's log:\n%s", log)
		}
	})
	id := strconv.Itoa(uid)
	return r, slices.Concat([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "env", "HOME=" + home, "LOCALAPPDATA=" + home, "APPDATA=" + home,
		binaries.proxy, "run", "--log-file", r.log, "--log-format", "json", "--log-level", "info"}, flags, []string{"--"}, command)
}

// dirOf returns a new directory of that user.
func dirOf(t *testing.T, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "user")
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		err = os.Chown(dir, uid, uid)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// events returns the entries of the log so far.
func (r *underRun) events(t *testing.T) (all []event) {
	t.Helper()
	text, err := os.ReadFile(r.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e event
		if !strings.HasSuffix(line, "\n") {
			break
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("a line that is not a log entry: %s", line)
		}
		all = append(all, e)
	}
	return all
}

// await waits for a log entry that satisfies match.
func (r *underRun) await(t *testing.T, what string, match func(event) bool) (found event) {
	t.Helper()
	eventually(t, what, func() bool {
		all := r.events(t)
		i := slices.IndexFunc(all, match)
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}
