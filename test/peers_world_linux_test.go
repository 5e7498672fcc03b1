package test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/test/hostile"
)

// What the program knows of peers, from files written with right and wrong clocks, and which peers may get plaintext as
// a result. Names come from a hosts file in a mount namespace.

// multiPeer is a peer on one port of all loopback addresses that counts what it gets at each.
type multiPeer struct {
	port string
	mu   sync.Mutex
	role map[string]string // behaviour by address: v2, v1, cut
	got  map[string]*gotten
}

// gotten counts what the peer got at one address.
type gotten struct{ conns, v2, plaintext int }

func startMultiPeer(t *testing.T, roles map[string]string) *multiPeer {
	t.Helper()
	n := &multiPeer{role: roles, got: make(map[string]*gotten)}
	_, n.port, _ = net.SplitHostPort(testkit.ServeAt(t, "0.0.0.0:0", func(nc net.Conn) {
		nc.SetDeadline(time.Now().Add(patience))
		n.serve(nc.(*net.TCPConn))
	}))
	return n
}

// serve plays a peer that, depending on its role, speaks v2, hangs up on v2 and speaks v1, or always hangs up.
func (n *multiPeer) serve(nc *net.TCPConn) {
	host, _, _ := net.SplitHostPort(nc.LocalAddr().String())
	n.mu.Lock()
	role := n.role[host]
	g := n.got[host]
	if g == nil {
		g = &gotten{}
		n.got[host] = g
	}
	g.conns++
	n.mu.Unlock()
	in := &prefixed{TCPConn: nc, b: make([]byte, 16)}
	if _, err := io.ReadFull(nc, in.b); err != nil {
		return
	}
	v1 := bytes.Equal(in.b, hello[:16])
	n.mu.Lock()
	if v1 {
		g.plaintext++
	} else {
		g.v2++
	}
	n.mu.Unlock()
	switch {
	case role == "v1" && v1:
		nc.Write(hostile.V1("version", version.payload))
		io.Copy(io.Discard, in)
	case role == "v2" && !v1:
		e, err := hostile.Script{}.Shake(in, false)
		if err == nil {
			_, err = e.Receive()
		}
		if err == nil {
			e.Send(hostile.V2("verack", nil))
			io.Copy(io.Discard, in)
		}
	default:
		nc.Read(make([]byte, 8192))
	}
}

// prefixed is a connection whose first bytes were read already.
type prefixed struct {
	*net.TCPConn
	b []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.b) > 0 {
		n := copy(b, p.b)
		p.b = p.b[n:]
		return n, nil
	}
	return p.TCPConn.Read(b)
}

// be assigns role to all addresses.
func (n *multiPeer) be(role string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for host := range n.role {
		n.role[host] = role
	}
}

// take returns what the peer got at an address since the last call.
func (n *multiPeer) take(host string) gotten {
	n.mu.Lock()
	defer n.mu.Unlock()
	var g gotten
	if p := n.got[host]; p != nil {
		g, *p = *p, g
	}
	return g
}

// startKnowing runs the program with a known-peers file, --v1-fallback always and, in a mount namespace, the script
// prepare before it.
func startKnowing(t *testing.T, file, prepare string, flags ...string) *under {
	t.Helper()
	all := append([]string{"--listen", "127.0.0.1:0", "--log-level", "debug", "--log-format", "json", "--known-peers", file}, flags...)
	path := binaries.proxy
	if prepare != "" {
		if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
			notRun(t, "no mount namespace: %v: %s", err, out)
		}
		all = append([]string{"-m", "sh", "-c", "set -e\n" + prepare + "\nexec \"$0\" \"$@\"", path}, all...)
		path = "unshare"
	}
	u := &under{flags: flags}
	t.Cleanup(func() {
		for _, line := range u.program.out.all() {
			if !json.Valid([]byte(line)) {
				t.Errorf("the proxy printed a line that is not a log entry: %s", line)
			}
		}
	})
	u.proxyLog = newProxyLog(start(t, "bip324-proxy", path, all...))
	u.pid = u.program.cmd.Process.Pid
	u.addr = (&proxy{program: u.program}).await(t, "listening", func(e event) bool { return e.Msg == "listening" }).Addr
	return u
}

const fallingBack = "--v1-fallback=always"

// session plays a client that sends VERSION to dest, waits for an answer, and leaves. It returns the session's last log
// entry.
func (u *under) session(t *testing.T, dest string) event {
	t.Helper()
	client, err := hostile.Connect(u.addr, dest, patience)
	if err != nil {
		t.Fatal(err)
	}
	client.Write(hello)
	io.ReadFull(client, make([]byte, hostile.HeaderSize))
	client.Close()
	return u.end(t, client.LocalAddr())
}

// stop ends the program as a service manager does.
func (u *under) stop(t *testing.T) {
	t.Helper()
	u.program.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-u.program.done:
	case <-time.After(patience):
		t.Fatal("the program is still running")
	}
	if code := u.program.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

// says returns the first log message that contains what, or "".
func (u *under) says(what string) string {
	for _, line := range u.program.out.all() {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// known writes a known-peers file.
func known(t *testing.T, lines ...string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "peers")
	write(t, file, "bip324 known peers 1\n"+strings.Join(lines, "\n")+"\n")
	return file
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// in returns the date at that distance from now.
func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

const day = 24 * time.Hour

// hosts returns a script that replaces the hosts file with lines.
func hosts(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	write(t, file, strings.Join(lines, "\n")+"\n")
	return "mount --bind " + file + " /etc/hosts"
}
