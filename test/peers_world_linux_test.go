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

// What the program knows of peers, in files as programs with right and wrong clocks leave them, and who may get plaintext
// by that. Names come from a hosts file in a mount namespace.

// multiPeer is a peer on a port of all of this machine's loopback addresses, and counts what it got at each.
type multiPeer struct {
	port string
	mu   sync.Mutex
	role map[string]string // by address: v2, v1, cut; how it behaves
	got  map[string]*gotten
}

// gotten is what it got at one address.
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

// serve plays a peer that, by its role, speaks v2, hangs up on it and speaks v1, or hangs up on everything.
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

// prefixed is a connection of which some bytes were read already.
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

// be makes all addresses play role.
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

// startKnowing runs the program with a file of known peers, --v1-fallback always and, in a mount namespace, what prepare
// does before.
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

// session has a client say VERSION to dest, wait for an answer, and leave. The event is the session's end.
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
		t.Fatal("the program does not end")
	}
	if code := u.program.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// says returns the first message of the log that has what in it, or nothing.
func (u *under) says(what string) string {
	for _, line := range u.program.out.all() {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// known writes a file of known peers.
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

// in is a date that is so far from now.
func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

const day = 24 * time.Hour

// hosts is a script that makes the lines the hosts file.
func hosts(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	write(t, file, strings.Join(lines, "\n")+"\n")
	return "mount --bind " + file + " /etc/hosts"
}
