package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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
	if _, err := exec.LookPath("nft"); err != nil {
		notRun(t, "nft(8) is missing; apt-get install nftables")
	}
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

// All connections of a user go through the proxy, by IPv4 and IPv6, and nothing of the user leaves otherwise, whether
// the proxy runs or not.
func TestTransparentUser(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	w := newWorld(t)
	addUser(t)
	var before []net.Conn
	for _, host := range worldHosts {
		nc := mustDialAs(t, redirectedUser, net.JoinHostPort(host, "7"))
		wantEcho(t, nc)
		before = append(before, nc)
	}
	local, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if c := checkRedirected(t); c.OK {
		t.Error("without rules, check says that connections are redirected")
	} else {
		c.requireAll(t, "redirected", "failed", "not redirected")
		c.requireAll(t, "udp", "warning", "leave")
	}

	p := startTransparent(t, proxyUser, onPage(t, "One user", "bip324-proxy --transparent"))
	for range 2 { // loading them again replaces them
		mustShell(t, onPage(t, "One user", "bip324-proxy transparent-rules"))
	}
	if c := checkRedirected(t); !c.OK {
		t.Error("check does not pass")
	} else {
		c.requireAll(t, "redirected", "ok", "redirected to the proxy")
		c.requireAll(t, "udp", "ok", "refused")
	}
	for i, nc := range before {
		wantReset(t, "a connection from before the rules to "+worldHosts[i], nc, nil, "more")
	}
	for _, host := range worldHosts {
		dest := net.JoinHostPort(host, "8333")
		if err := exchangeV1(mustDialAs(t, redirectedUser, dest)); err != nil {
			t.Errorf("%s: %v", dest, err)
		}
		if e := p.openedTo(t, dest); e.Transport != "v2" {
			t.Errorf("%s: the session is on %s", dest, e.Transport)
		}
		wantEcho(t, mustDialAs(t, redirectedUser, net.JoinHostPort(host, "7"))) // not Bitcoin: passed through

		// A dead peer is a success, then a reset; a peer that does not speak v2 too.
		nc, err := dialAs(t, redirectedUser, "tcp", net.JoinHostPort(host, "9"))
		wantReset(t, "a dead peer", nc, err, "")

		// UDP is refused, but for DNS.
		for _, c := range []struct {
			port    string
			refused bool
		}{{"8333", true}, {"443", true}, {"53", false}} {
			nc, err := dialAs(t, redirectedUser, "udp", net.JoinHostPort(host, c.port))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Write([]byte("query")); (err != nil) != c.refused {
				t.Errorf("UDP to %s port %s: got %v", host, c.port, err)
			}
		}
	}
	if nc, err := dialAs(t, redirectedUser, "tcp", local.Addr().String()); err != nil {
		t.Errorf("this machine: %v", err)
	} else if accepted, err := local.Accept(); err != nil || accepted.RemoteAddr().String() != nc.LocalAddr().String() {
		t.Errorf("this machine: got %v, %v; want a direct connection", accepted, err)
	}

	// A client that offers Multipath TCP, too, which the listener does not take.
	var d net.Dialer
	d.SetMultipathTCP(true)
	last := p.openedTo(t, net.JoinHostPort(worldHosts[1], "7")).Session
	for _, host := range worldHosts {
		withUser(redirectedUser, func() {
			nc, err := d.Dial("tcp", net.JoinHostPort(host, "7"))
			if err != nil {
				t.Errorf("Multipath TCP to %s: %v", host, err)
				return
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(patience))
			wantEcho(t, nc)
		})
		p.await(t, "a passthrough of Multipath TCP", func(e event) bool {
			return e.Msg == "session opened" && e.Session > last && e.Dest == net.JoinHostPort(host, "7")
		})
	}

	// Other users are not concerned.
	conns := w.conns.Load()
	wantEcho(t, mustDialAs(t, 0, "9.9.9.5:7"))
	if n := w.conns.Load() - conns; n != 1 {
		t.Errorf("another user: %d connections", n)
	}

	// A connection that was not redirected, and one that only looks whether the port is open.
	for _, addr := range []string{"127.0.0.1:1326", "[::1]:1326"} {
		wantReset(t, addr, mustDialAs(t, redirectedUser, addr), nil, "\x05\x01\x00")
		mustDialAs(t, redirectedUser, addr).Close()
	}
	if e := p.refused(t, "was not redirected"); !strings.Contains(e.Hint, "--listen") {
		t.Errorf("got the hint %q", e.Hint)
	}

	// Without the proxy all connections are refused.
	p.kill()
	conns = w.conns.Load()
	for _, host := range worldHosts {
		if nc, err := dialAs(t, redirectedUser, "tcp", net.JoinHostPort(host, "8333")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s, without the proxy: got %v, %v", host, nc, err)
		}
	}
	if n := w.conns.Load() - conns; n != 0 {
		t.Errorf("without the proxy %d connections were made", n)
	}
	if c := checkRedirected(t); c.OK {
		t.Error("without the proxy, check passes")
	} else {
		c.requireAll(t, "redirected", "failed", "nothing leaves")
	}

	mustShell(t, onPage(t, "One user", "sudo nft delete"))
	wantEcho(t, mustDialAs(t, redirectedUser, "9.9.9.5:7"))
}

// A proxy that the rules redirect to itself refuses its own connections before it makes more.
func TestTransparentLoop(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	w := newWorld(t)
	flags := "--transparent 127.0.0.1:1326 --transparent [::1]:1326"
	mustShell(t, fmt.Sprintf("bip324-proxy transparent-rules --user %d %s | nft -f -", redirectedUser, flags))
	for more, each := range map[string]int{"": 20, " --upstream socks5://9.9.9.5:1080": 20, " --v1-fallback always": 2} {
		p := startTransparent(t, redirectedUser, "bip324-proxy "+flags+more)
		for _, host := range worldHosts {
			for range each {
				nc, err := dialAs(t, redirectedUser, "tcp", net.JoinHostPort(host, "8333"))
				if err == nil {
					err = exchangeV1(nc)
				}
				// A session in v1 may be open before the peer, which is the proxy, resets it.
				if !errors.Is(err, syscall.ECONNRESET) && (err != io.EOF || !strings.Contains(more, "always")) {
					t.Errorf("%s%s: got %v, want a reset", host, more, err)
				}
			}
		}
		if e := p.refused(t, "redirects the proxy's own connections"); !strings.Contains(e.Hint, "user") {
			t.Errorf("%s: got the hint %q", more, e.Hint)
		}
		p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.done
		last := 0
		for _, line := range p.out.all() {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil {
				last = max(last, e.Session)
			}
		}
		// Each connection of a client makes one of the proxy, or a few if it tries again.
		if n := len(worldHosts) * each; last > 4*n {
			t.Errorf("%s: %d connections made %d sessions", more, n, last)
		}
	}
	if n := w.conns.Load(); n != 0 {
		t.Errorf("%d connections got out", n)
	}
}

// A thousand connections of the user at a time.
func TestTransparentMany(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	newWorld(t)
	flags := "--transparent 127.0.0.1:1326 --transparent [::1]:1326"
	mustShell(t, fmt.Sprintf("bip324-proxy transparent-rules --user %d %s | nft -f -", redirectedUser, flags))
	startTransparent(t, 0, "bip324-proxy "+flags)
	const n = 1000
	conns := make([]net.Conn, n)
	withUser(redirectedUser, func() {
		for i := range conns {
			var err error
			if conns[i], err = net.Dial("tcp", net.JoinHostPort(worldHosts[i%2], "7")); err != nil {
				t.Fatal(err)
			}
		}
	})
	var all sync.WaitGroup
	for i, nc := range conns {
		all.Go(func() {
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(patience))
			said := fmt.Appendf(nil, "connection number %d", i)
			heard := make([]byte, len(said))
			nc.Write(said)
			if _, err := io.ReadFull(nc, heard); err != nil || !bytes.Equal(said, heard) {
				t.Errorf("connection %d: got %q, %v", i, heard, err)
			}
		})
	}
	all.Wait()
}

// The user of a systemd unit is found by systemctl.
func TestTransparentService(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	newWorld(t)
	addUser(t)
	bin := t.TempDir()
	unit := filepath.Join(bin, "unit")
	writeFile(t, filepath.Join(bin, "systemctl"), "#!/bin/sh\ncat "+unit+"\n")
	if err := os.Chmod(filepath.Join(bin, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "PATH=" + bin + ":$PATH; set -e; " + onPage(t, "A systemd service", "bip324-proxy transparent-rules")
	writeFile(t, unit, "LoadState=loaded\nUser=bitcoin\nDynamicUser=no\n")
	mustShell(t, script)
	if nc, err := dialAs(t, redirectedUser, "tcp", "9.9.9.5:7"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, %v; want it redirected to no proxy", nc, err)
	}
	script, _, _ = strings.Cut(script, "|")
	for says, state := range map[string]string{
		"systemd has no unit":  "LoadState=not-found\nUser=\nDynamicUser=no\n",
		"runs as root":         "LoadState=loaded\nUser=\nDynamicUser=no\n",
		"DynamicUser=yes":      "LoadState=loaded\nUser=\nDynamicUser=yes\n",
		"the proxy itself run": "LoadState=loaded\nUser=bip324-proxyd\nDynamicUser=no\n",
	} {
		writeFile(t, unit, state)
		if out, err := shell(t, script); err == nil || !strings.Contains(out, says) {
			t.Errorf("got %v, %s; want %q", err, out, says)
		}
	}
}

// Hosts behind a router need no configuration, with redirection and with TPROXY.
func TestTransparentRouter(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	w := newWorld(t)
	lan := strings.Replace(w.name, "world", "lan", 1)
	command(t, "ip", "netns", "add", lan)
	t.Cleanup(func() { command(t, "ip", "netns", "delete", lan) })
	for line := range strings.Lines(strings.ReplaceAll(`link add lan0 type veth peer name eth0 netns LAN
		addr add 192.168.7.1/24 dev lan0
		addr add fd00:7::1/64 dev lan0 nodad
		link set lan0 up
		-n LAN addr add 192.168.7.2/24 dev eth0
		-n LAN addr add 192.168.7.3/24 dev eth0
		-n LAN addr add 192.168.8.4/32 dev eth0
		-n LAN addr add fd00:7::2/64 dev eth0 nodad
		-n LAN link set eth0 up
		-n LAN route add default via 192.168.7.1
		-n LAN -6 route add default via fd00:7::1
		route add 192.168.8.4/32 dev lan0`, "LAN", lan)) {
		command(t, "ip", strings.Fields(line)...)
	}
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	hosts := []string{"192.168.7.2", "fd00:7::2"}
	forwarded := dialIn(t, lan, hosts[0], "9.9.9.5:7")
	wantEcho(t, forwarded)

	p := startTransparent(t, 0, onPage(t, "A router", "bip324-proxy --transparent"))
	if !strings.Contains(strings.Join(p.out.all(), "\n"), `"transparent":"redirect,tproxy"`) {
		t.Error("the log does not say that TPROXY works")
	}
	session := 0
	through := func(what string) {
		t.Helper()
		for i, host := range worldHosts {
			dest := net.JoinHostPort(host, "8333")
			if err := exchangeV1(dialIn(t, lan, hosts[i], dest)); err != nil {
				t.Errorf("%s, to %s: %v", what, dest, err)
			}
			e := p.await(t, what+" to "+dest, func(e event) bool { return e.Msg == "session opened" && e.Dest == dest && e.Session > session })
			if e.Transport != "v2" || !strings.HasPrefix(e.Client, "["+hosts[i]+"]:") && !strings.HasPrefix(e.Client, hosts[i]+":") {
				t.Errorf("%s: the session to %s is on %s for %s", what, dest, e.Transport, e.Client)
			}
			session = e.Session
			probe := dialIn(t, lan, hosts[i], []string{"192.0.2.1:8333", "[2001:db8::1]:8333"}[i])
			if b, err := io.ReadAll(probe); string(b) != "bip324-proxy: redirected\n" || err != nil {
				t.Errorf("%s: the probe got %q, %v", what, b, err)
			}
		}
		// Neither the router's network nor a host that is not admitted.
		for _, c := range []struct{ what, from, to string }{
			{"a host that is not in --clients", "192.168.8.4", "9.9.9.5:8333"},
			{"the router's other network", hosts[0], "10.9.1.2:7"},
			{"not redirected", hosts[0], "192.168.7.1:1326"},
		} {
			nc, err := tryIn(t, lan, c.from, c.to)
			wantReset(t, what+": "+c.what, nc, err, "\x05\x01\x00")
		}
	}
	mustShell(t, onPage(t, "A router", "bip324-proxy transparent-rules"))
	wantReset(t, "a connection from before the rules", forwarded, nil, "more")
	through("redirected")

	mustShell(t, "nft delete table inet bip324_proxy")
	mustShell(t, onPage(t, "TPROXY", "nft -f"))
	through("TPROXY")
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
