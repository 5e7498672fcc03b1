package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
	// A router that answers that it has no route has received the packet.
	command(t, "ip", "-n", w.name, "-6", "route", "add", "unreachable", "2001:db8::/32")
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

		// Port 0, which rules take for any port.
		nc, err = dialAs(t, redirectedUser, "tcp", net.JoinHostPort(host, "0"))
		wantReset(t, "port 0", nc, err, "")
		p.refused(t, net.JoinHostPort(host, "0")+`" has no port`)

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

// A socket of the user that is bound to an interface sends nothing there, not even what is for this machine.
func TestTransparentInterface(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	newWorld(t)
	mustShell(t, fmt.Sprintf("bip324-proxy transparent-rules --user %d --transparent 127.0.0.1:1326 --transparent [::1]:1326 | nft -f -", redirectedUser))
	captured := startCaptureOn(t, "wan0")
	d := net.Dialer{Timeout: time.Second / 2, Control: func(_, _ string, socket syscall.RawConn) (err error) {
		failed := socket.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "wan0") })
		return errors.Join(failed, err)
	}}
	withUser(redirectedUser, func() {
		for _, host := range worldHosts {
			if nc, err := d.Dial("tcp", net.JoinHostPort(host, "7")); err == nil {
				nc.Close()
				t.Errorf("%s: connected", host)
			}
		}
		for _, to := range []string{"127.0.0.1:9", "[::1]:9"} {
			nc, err := d.Dial("udp", to)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(nc, "query")
			nc.Close()
		}
	})
	for f := range captured.streams() {
		t.Errorf("TCP from %v to %v leaves", f.from, f.to)
	}
	for _, f := range captured.other {
		if f.to.Addr().IsLoopback() {
			t.Errorf("UDP from %v to %v leaves", f.from, f.to)
		}
	}
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
