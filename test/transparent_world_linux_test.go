package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bip324proxy/test/hostile"
)

// The user whose connections are redirected, as on docs/transparent.md, and the proxy's.
const (
	redirectedUser = 4711
	proxyUser      = 4712
)

// The addresses of peers in the world.
var worldHosts = []string{"9.9.9.5", "2600:9::5"}

// world is another network namespace that this one has a default route to, with peers that speak v2.
type world struct {
	name  string
	conns atomic.Int64
}

// newWorld makes a world.
func newWorld(t *testing.T) *world {
	t.Helper()
	requireInstalled(t, "nft", "setpriv")
	w := &world{name: fmt.Sprintf("bip324-proxy-world-%d", os.Getpid())} // /run is shared
	command(t, "ip", "netns", "add", w.name)
	t.Cleanup(func() { command(t, "ip", "netns", "delete", w.name) })
	for line := range strings.Lines(strings.ReplaceAll(`link add wan0 type veth peer name wan netns WORLD
		addr add 10.9.1.1/24 dev wan0
		addr add fd00:9::1/64 dev wan0 nodad
		link set wan0 up
		-n WORLD addr add 10.9.1.2/24 dev wan
		-n WORLD addr add fd00:9::2/64 dev wan nodad
		-n WORLD addr add 9.9.9.5/32 dev wan
		-n WORLD addr add 2600:9::5/128 dev wan nodad
		-n WORLD link set wan up
		-n WORLD link set lo up
		-n WORLD route add default via 10.9.1.1
		-n WORLD -6 route add default via fd00:9::1
		route add default via 10.9.1.2
		-6 route add default via fd00:9::2`, "WORLD", w.name)) {
		command(t, "ip", strings.Fields(line)...)
	}
	for _, host := range worldHosts {
		w.serve(t, net.JoinHostPort(host, "8333"), hostile.Node("/far:1/"))
		w.serve(t, net.JoinHostPort(host, "7"), func(nc *net.TCPConn) { io.Copy(nc, nc) })
	}
	return w
}

// serve hands each connection to an address of the world to handle.
func (w *world) serve(t *testing.T, address string, handle func(*net.TCPConn)) {
	t.Helper()
	var l net.Listener
	var err error
	inNetwork(t, w.name, func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			w.conns.Add(1)
			go func() {
				defer nc.Close()
				handle(nc.(*net.TCPConn))
			}()
		}
	}()
}

// asUser returns a command that runs a program as a user.
func asUser(uid int) []string {
	return []string{"setpriv", fmt.Sprintf("--reuid=%d", uid), fmt.Sprintf("--regid=%d", uid), "--clear-groups"}
}

// withUser calls f on an OS thread whose new sockets are the user's. f must stay on that thread.
func withUser(uid int, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, _ := unix.SetfsuidRetUid(uid)
	defer unix.SetfsuidRetUid(own)
	f()
}

// dialAs connects as a user of this machine: rules see the one that made the socket.
func dialAs(t *testing.T, uid int, network, to string) (net.Conn, error) {
	t.Helper()
	var nc net.Conn
	var err error
	withUser(uid, func() { nc, err = net.Dial(network, to) })
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return nc, nil
}

// mustDialAs is dialAs for connections that must be made.
func mustDialAs(t *testing.T, uid int, to string) net.Conn {
	t.Helper()
	nc, err := dialAs(t, uid, "tcp", to)
	if err != nil {
		t.Fatalf("to %s as user %d: %v", to, uid, err)
	}
	return nc
}

// exchangeV1 exchanges VERSION and a ping on a v1 connection.
func exchangeV1(nc net.Conn) error {
	if _, err := nc.Write(append(hostile.V1("version", hostile.Version("/client:1/")), hostile.V1("ping", make([]byte, 8))...)); err != nil {
		return err
	}
	for {
		switch name, _, err := hostile.ReadV1(nc); {
		case err != nil:
			return err
		case name == "pong":
			return nil
		}
	}
}

// wantReset checks that a connection, or its dial that ended with err, is reset.
func wantReset(t *testing.T, what string, nc net.Conn, err error, send string) {
	t.Helper()
	var heard []byte
	if err == nil {
		_, err = io.WriteString(nc, send)
	}
	if err == nil {
		heard, err = io.ReadAll(nc)
	}
	if !errors.Is(err, syscall.ECONNRESET) || len(heard) > 0 {
		t.Errorf("%s: got %q, %v; want a reset", what, heard, err)
	}
}

// onPage returns a command of docs/transparent.md, to be run here with sh -c.
func onPage(t *testing.T, section, begin string) string {
	t.Helper()
	code := codeOn(t, "transparent.md", section, begin)
	as := strings.Join(asUser(redirectedUser), " ") + " "
	return strings.ReplaceAll(strings.ReplaceAll(code, "sudo -u bitcoin ", as), "sudo ", "")
}

// shell runs a command of the page and returns its output.
func shell(t *testing.T, script string) (out string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binaries.proxy)+":"+os.Getenv("PATH"))
	b, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", script, b)
	return string(b), err
}

// mustShell is shell for commands that must succeed.
func mustShell(t *testing.T, script string) string {
	t.Helper()
	out, err := shell(t, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// addUser makes bitcoin a user of the namespace.
func addUser(t *testing.T) {
	t.Helper()
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	useFile(t, "/etc/passwd", fmt.Sprintf("%sbitcoin:x:%d:%[2]d::/nonexistent:/bin/false\nbip324-proxyd:x:%d:%[3]d::/nonexistent:/bin/false\n", users, redirectedUser, proxyUser))
	os.Chmod("/etc/passwd", 0o644)
}

// startTransparent runs the proxy with flags of the page, as a user, or as root if uid is 0.
func startTransparent(t *testing.T, uid int, flags string) *proxy {
	t.Helper()
	args := strings.Fields(strings.ReplaceAll(flags, "'", ""))
	if args[0] != "bip324-proxy" {
		t.Fatalf("%q does not run the proxy", flags)
	}
	var by []string
	if uid != 0 {
		by = asUser(uid)
	}
	p := startProxyBy(t, by, append(args[1:], "--connect-timeout", "2s")...)
	p.await(t, "listening with --transparent", func(e event) bool { return e.Msg == "listening" && strings.HasSuffix(e.Addr, "]:1326") })
	return p
}

// refused returns the first refused session of a kind of reason.
func (p *proxy) refused(t *testing.T, reason string) event {
	t.Helper()
	return p.await(t, reason, func(e event) bool { return e.Msg == "session refused" && strings.Contains(e.Reason, reason) })
}

// openedTo waits for an open session to dest.
func (p *proxy) openedTo(t *testing.T, dest string) event {
	t.Helper()
	return p.await(t, "session opened to "+dest, func(e event) bool { return e.Msg == "session opened" && e.Dest == dest })
}

// checkRedirected runs check --redirected as the user, in JSON.
func checkRedirected(t *testing.T) checked {
	t.Helper()
	script := strings.Replace(onPage(t, "One user", "sudo -u bitcoin"), "check", "check --json", 1)
	out, err := shell(t, script)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	}
	before, _, _ := strings.Cut(out, "\n}\n")
	return readChecked(t, code, before+"\n}\n", "")
}

// wantEcho checks that a connection leads to a peer that repeats what it hears.
func wantEcho(t *testing.T, nc net.Conn) {
	t.Helper()
	said := []byte("not Bitcoin\n")
	heard := make([]byte, len(said))
	nc.Write(said)
	if _, err := io.ReadFull(nc, heard); err != nil || !bytes.Equal(said, heard) {
		t.Errorf("echo: got %q, %v", heard, err)
	}
}

// requireAll checks that each result of that name has that state and text.
func (c checked) requireAll(t *testing.T, name, state, says string) {
	t.Helper()
	n := 0
	for _, r := range c.Checks {
		if r.Name == name {
			n++
			if r.State != state || !strings.Contains(r.What, says) {
				t.Errorf("%s: got %s: %s; want %s with %q", name, r.State, r.What, state, says)
			}
		}
	}
	if n == 0 {
		t.Errorf("no result %s", name)
	}
}
