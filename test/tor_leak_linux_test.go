package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/internal/testkit"
)

// startTracedProxy is startTorProxy under strace, which records every system call that could send data. ended kills the
// proxy and returns the record.
func startTracedProxy(t *testing.T, upstream string, flags ...string) (p *proxy, ended func() string) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		notRun(t, "strace is missing; apt-get install strace")
	}
	record := filepath.Join(t.TempDir(), "strace")
	args := append([]string{"-D", "-f", "-qq", "-e", "signal=none", "-e", "trace=connect,sendto,sendmsg,sendmmsg,exit_group",
		"-o", record, binaries.proxy, // -D keeps the proxy as start's child process
		"--listen", "127.0.0.1:0", "--log-format", "json", "--grace", "0", "--upstream", "socks5://" + upstream}, flags...)
	p = &proxy{program: start(t, "bip324-proxy", strace, args...)}
	p.addr = p.await(t, "listening", func(e event) bool { return e.Msg == "listening" }).Addr
	return p, func() string {
		t.Helper()
		p.cmd.Process.Signal(os.Interrupt)
		<-p.done
		var all []byte
		eventually(t, "strace has written the record", func() bool {
			all, err = os.ReadFile(record)
			return err == nil && bytes.Contains(all, []byte("exit_group("))
		})
		return string(all)
	}
}

// requireOnlyTor checks that the proxy connected to nothing but upstream, and sent nothing without a connection.
func requireOnlyTor(t *testing.T, record, upstream string, least int) {
	t.Helper()
	to := netip.MustParseAddrPort(upstream)
	want := fmt.Sprintf(`{sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("%s")}`, to.Port(), to.Addr())
	connects := 0
	for line := range strings.Lines(record) {
		switch {
		case strings.Contains(line, "connect("):
			connects++
			if !strings.Contains(line, want) {
				t.Errorf("unexpected system call: %s", line)
			}
		case regexp.MustCompile(`send(to|msg|mmsg)\(`).MatchString(line) && strings.Contains(line, "sa_family"):
			t.Errorf("unexpected system call: %s", line)
		}
	}
	if !t.Failed() {
		t.Logf("%d connections, all to %s", connects, upstream)
	}
	if connects < least {
		t.Errorf("%d connections to the upstream, want at least %d: this test proves nothing\n%s", connects, least, record)
	}
}

// The proxy connects only to Tor, whatever clients request, and sends no packet: it looks up no name, and neither a
// failure nor a redial bypasses Tor. strace records every attempt.
func testTorNothingDirect(t *testing.T, n *torNetwork) {
	proxy, ended := startTracedProxy(t, n.socks, "--v1-fallback", "always")
	w := newWallet(t, &chaincfg.RegressionNetParams)
	v2, v1 := startBtcdNode(t, w, "--v2transport"), startBtcdNode(t, w)
	onion := n.onion(t, v2.p2p) + ":8333"
	named := knownName + ":" + port(t, v2.p2p)
	connect := func(dest string) socksRequest {
		return socksRequest{server: proxy.addr, user: t.Name(), command: socksConnect, dest: dest}
	}
	for _, dest := range []string{v2.p2p, named, v1.p2p} { // the last is dialled twice
		speakV1(t, connect(dest).granted(t))
	}
	speakV1(t, connect(onion).grantedOverTor(t))
	requireSockets(t, proxy, n.socks)
	for _, dest := range []string{"leak.invalid:8333", "192.0.2.1:8333", freeAddr(t), unknownOnion(t) + ":8333"} {
		connect(dest).refused(t)
	}
	electrum := []byte(`{"id":0,"method":"server.version"}`) // not a Bitcoin client: passed through
	if err := exchange(connect(testkit.Echo(t)).granted(t), electrum, electrum); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{knownName, "leak.invalid", "localhost", "203.0.113.7"} {
		socksRequest{server: proxy.addr, command: torResolve, dest: name + ":0"}.send(t)
	}
	const requests, redials = 12, 1 // the address needs no look-up
	requireOnlyTor(t, ended(), n.socks, requests+redials)
}

// The proxy does not bypass a Tor that is down.
func testTorNothingDirectWhenDown(t *testing.T, n *torNetwork) {
	down := freeAddr(t)
	proxy, ended := startTracedProxy(t, down, "--v1-fallback", "always")
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	for _, dest := range []string{node.p2p, knownName + ":8333", "localhost:" + port(t, node.p2p), unknownOnion(t) + ":8333"} {
		reply := socksRequest{server: proxy.addr, command: socksConnect, dest: dest}.refused(t)
		requireRefusal(t, reply, 1)
		refused := proxy.await(t, "session refused for "+dest, func(e event) bool { return e.Msg == "session refused" && e.Dest == dest })
		if !strings.Contains(refused.Reason, down) {
			t.Errorf("the proxy logged %+v, want a reason that names the upstream %s", refused, down)
		}
		t.Logf("%s: reason %q, hint %q", dest, refused.Reason, refused.Hint)
	}
	socksRequest{server: proxy.addr, command: torResolve, dest: "localhost:0"}.refused(t)
	requireOnlyTor(t, ended(), down, 5)
}

// The same without strace, at one moment of a live session.
func testTorSockets(t *testing.T, n *torNetwork) {
	proxy := startTorProxy(t, n.socks)
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	named := knownName + ":" + port(t, node.p2p)
	speakV1(t, socksRequest{server: proxy.addr, command: socksConnect, dest: named}.granted(t))
	requireSockets(t, proxy, n.socks)
}

// requireSockets checks, in /proc, that every internet socket of the proxy is its listener, a client's connection or
// one to upstream, and that each kind exists. A reading may miss sockets, because the kernel's tables change meanwhile.
func requireSockets(t *testing.T, proxy *proxy, upstream string) {
	t.Helper()
	eventually(t, "a listener, a client and a connection to Tor", func() bool {
		listeners, clients, upstreams := readSockets(t, proxy, upstream)
		t.Logf("%d listener, %d clients, %d connections to Tor", listeners, clients, upstreams)
		return listeners == 1 && clients >= 1 && upstreams >= 1
	})
}

// readSockets counts the proxy's sockets. It fails the test if there is any other socket.
func readSockets(t *testing.T, proxy *proxy, upstream string) (listeners, clients, upstreams int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", proxy.cmd.Process.Pid)
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{} // inodes
	for _, f := range files {
		link, _ := os.Readlink(dir + "fd/" + f.Name()) // may be closed by now
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			ours[strings.TrimSuffix(inode, "]")] = true
		}
	}
	listen, tor := netip.MustParseAddrPort(proxy.addr), netip.MustParseAddrPort(upstream)
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6"} {
		content, err := os.ReadFile(dir + "net/" + table)
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line) // sl local remote state tx:rx tr:when retrnsmt uid timeout inode ...
			if len(fields) < 10 || !ours[fields[9]] {
				continue
			}
			local, remote := procAddr(t, fields[1]), procAddr(t, fields[2])
			switch {
			case table == "tcp" && local == listen && remote.Port() == 0:
				listeners++
			case table == "tcp" && local == listen:
				clients++
			case table == "tcp" && remote == tor:
				upstreams++
			default:
				t.Errorf("the proxy has a %s socket from %v to %v", table, local, remote)
			}
		}
	}
	return listeners, clients, upstreams
}

// procAddr parses "0100007F:1F90": each 32-bit word of the address in host byte order, and the port.
func procAddr(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	host, portText, _ := strings.Cut(s, ":")
	portNumber, err := strconv.ParseUint(portText, 16, 16)
	if err != nil {
		t.Fatalf("invalid port in %q", s)
	}
	var addr []byte
	for i := 0; i+8 <= len(host); i += 8 {
		word, err := strconv.ParseUint(host[i:i+8], 16, 32)
		if err != nil {
			t.Fatalf("invalid address in %q", s)
		}
		addr = binary.NativeEndian.AppendUint32(addr, uint32(word))
	}
	ip, _ := netip.AddrFromSlice(addr)
	return netip.AddrPortFrom(ip.Unmap(), uint16(portNumber))
}

// check, too, connects only to Tor, whatever it checks; it looks up no name.
func testTorCheckNothingDirect(t *testing.T, n *torNetwork) {
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	for _, dest := range []string{knownName + ":" + port(t, node.p2p), "leak.invalid", unknownOnion(t), "192.0.2.1"} {
		_, _, _, record := traceRun(t, "check", "--upstream", "socks5://"+n.socks, "--network", "regtest", dest)
		requireOnlyTor(t, record, n.socks, 2)
	}
}

// traceRun is run under strace, with the system calls that requireOnlyTor needs.
func traceRun(t *testing.T, args ...string) (code int, stdout, stderr, record string) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		notRun(t, "strace is missing; apt-get install strace")
	}
	file := filepath.Join(t.TempDir(), "strace")
	code, stdout, stderr = runProgram(t, strace, append([]string{"-f", "-qq", "-e", "signal=none", "-e", "trace=connect,sendto,sendmsg,sendmmsg",
		"-o", file, binaries.proxy}, args...)...)
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return code, stdout, stderr, string(all)
}

// A check of the proxy connects to the proxy and to the default address of its status page, and to nothing else: to
// learn whether a route exists it asks the system and sends nothing.
func TestCheckAsksNobody(t *testing.T) {
	t.Parallel()
	proxy := startProxy(t)
	code, stdout, stderr, record := traceRun(t, "check", "--json", "--listen", proxy.addr)
	c := readChecked(t, code, stdout, stderr)
	c.require(t, "listener", "ok", "")
	listener := netip.MustParseAddrPort(proxy.addr)
	own := fmt.Sprintf(`sin_port=htons(%d), sin_addr=inet_addr("127.0.0.1")`, listener.Port())
	page := `sin_port=htons(1325), sin_addr=inet_addr("127.0.0.1")`
	v4, v6 := `sin_port=htons(8333), sin_addr=inet_addr("192.0.2.1")`, `inet_pton(AF_INET6, "2001:db8::1"`
	seen := 0
	for line := range strings.Lines(record) {
		switch {
		case strings.Contains(line, own):
			seen++
		case strings.Contains(line, page):
		case strings.Contains(line, "???( <detached"): // a thread that exited outside a system call
		case strings.Contains(line, "connect(") && (strings.Contains(line, v4) || strings.Contains(line, v6)): // UDP sockets
		default:
			t.Errorf("unexpected system call: %s", line)
		}
	}
	if seen != 2 {
		t.Errorf("%d connections to the proxy, want 2\n%s", seen, record)
	}
}
