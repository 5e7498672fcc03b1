package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/test/hostile"
)

// bridge is a container network as container engines create it: this namespace is the proxy's container, 172.30.0.2,
// whose default route is the host, 172.30.0.1. There are other containers in the network, and remote ones behind the
// host.
const bridge = `link add eth0 type veth peer name host netns HOST
	addr add 172.30.0.2/24 dev eth0
	addr add fd00:30::2/64 dev eth0 nodad
	link set eth0 up
	-n HOST addr add 172.30.0.1/24 dev host
	-n HOST addr add 172.30.0.3/24 dev host
	-n HOST addr add 172.30.0.4/24 dev host
	-n HOST addr add 172.31.0.7/32 dev host
	-n HOST addr add 203.0.113.7/32 dev host
	-n HOST addr add fd00:30::1/64 dev host nodad
	-n HOST addr add fd00:30::3/64 dev host nodad
	-n HOST link set host up
	route add default via 172.30.0.1
	-6 route add default via fd00:30::1`

// inBridge runs f in the proxy's namespace of a bridge. dial connects from an address of another namespace.
func inBridge(t *testing.T, f func(dial func(from, to string) net.Conn)) {
	t.Helper()
	if !namespace(t) {
		return
	}
	name := fmt.Sprintf("bip324-proxy-host-%d", os.Getpid())
	command(t, "ip", "netns", "add", name)
	t.Cleanup(func() { command(t, "ip", "netns", "delete", name) })
	for line := range strings.Lines(strings.ReplaceAll(bridge, "HOST", name)) {
		command(t, "ip", strings.Fields(line)...)
	}
	f(func(from, to string) net.Conn { return dialIn(t, name, from, to) })
}

// dialIn connects from another network namespace.
func dialIn(t *testing.T, name, from, to string) net.Conn {
	t.Helper()
	nc, err := tryIn(t, name, from, to)
	if err != nil {
		t.Fatalf("from %s to %s: %v", from, to, err)
	}
	return nc
}

// tryIn is dialIn for connections that may fail.
func tryIn(t *testing.T, name, from, to string) (net.Conn, error) {
	t.Helper()
	ip := net.ParseIP(from)
	to4 := net.ParseIP(strings.Trim(to[:strings.LastIndex(to, ":")], "[]")).To4() != nil
	var fd int
	var err error
	inNetwork(t, name, func() { fd, err = socketTo(ip, to, to4) })
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "client")
	defer file.Close()
	nc, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return nc, nil
}

// socketTo connects on this OS thread, which package net does not guarantee.
func socketTo(ip net.IP, to string, v4 bool) (fd int, err error) {
	addr, err := net.ResolveTCPAddr("tcp", to)
	if err != nil {
		return 0, err
	}
	var from, dest syscall.Sockaddr = &syscall.SockaddrInet6{Addr: [16]byte(ip.To16())}, &syscall.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP.To16())}
	family := syscall.AF_INET6
	if v4 {
		family = syscall.AF_INET
		from, dest = &syscall.SockaddrInet4{Addr: [4]byte(ip.To4())}, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}
	}
	if fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	if err = syscall.Bind(fd, from); err == nil {
		err = syscall.Connect(fd, dest)
	}
	if err != nil {
		syscall.Close(fd)
	}
	return fd, err
}

// socksAnswers returns what a proxy sends to a client that offers no authentication and requests dest, up to the reply
// or the end of the stream.
func socksAnswers(nc net.Conn, dest string) []byte {
	_, request := socksConnectTo(dest)
	nc.Write([]byte{5, 1, 0})
	method := make([]byte, 2)
	if n, err := io.ReadFull(nc, method); err != nil || method[1] != 0 {
		rest, _ := io.ReadAll(nc)
		return append(method[:n], rest...)
	}
	nc.Write(request)
	reply := make([]byte, 10)
	n, _ := io.ReadFull(nc, reply)
	return append(method, reply[:n]...)
}

var (
	admitted   = []byte{5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	notAllowed = []byte{5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0}
	noMethods  = []byte{5, 0xff}
)

// With --clients, containers of the proxy's network need no password; other containers, the host that forwards remote
// connections, and the proxy's own container are refused.
func TestClientsInABridgeNetwork(t *testing.T) {
	t.Parallel()
	inBridge(t, func(dial func(from, to string) net.Conn) {
		peer := testkit.ServeAt(t, "127.0.0.1:0", func(nc net.Conn) { io.Copy(io.Discard, nc) })
		own := func(p *proxy, to string) net.Conn {
			d := net.Dialer{Timeout: patience}
			nc, err := d.Dial("tcp", to)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			nc.SetDeadline(time.Now().Add(patience))
			return nc
		}
		refused := func(p *proxy, reason, hint string) {
			t.Helper()
			e := p.await(t, "session refused", func(e event) bool { return e.Msg == "session refused" && strings.Contains(e.Reason, reason) })
			if !strings.Contains(e.Hint, hint) {
				t.Errorf("%q got the hint %q, want %q", e.Reason, e.Hint, hint)
			}
		}
		ask := func(nc net.Conn, who string, want []byte) {
			t.Helper()
			if got := socksAnswers(nc, peer); !bytes.Equal(got, want) {
				t.Errorf("%s: % x, want % x", who, got, want)
			}
			nc.Close()
		}

		p := startProxy(t, "--listen", "[::]:1324", "--clients", "172.30.0.0/24", "--clients", "fd00:30::/64", "--allow", "127.0.0.1", "--log-level", "debug")
		ask(dial("172.30.0.3", "172.30.0.2:1324"), "a container", admitted)
		ask(dial("fd00:30::3", "[fd00:30::2]:1324"), "a container, by IPv6", admitted)
		ask(dial("172.31.0.7", "172.30.0.2:1324"), "another network", noMethods)
		refused(p, "the client 172.31.0.7 is not admitted", "add 172.31.0.7 to clients")
		ask(dial("203.0.113.7", "172.30.0.2:1324"), "elsewhere", noMethods)
		refused(p, "the client 203.0.113.7 is not admitted", "add public:203.0.113.7 to clients")
		ask(dial("172.30.0.1", "172.30.0.2:1324"), "the host", noMethods)
		refused(p, "the client 172.30.0.1 is a router", "do not publish or forward")
		ask(dial("fd00:30::1", "[fd00:30::2]:1324"), "the host, by IPv6", noMethods)
		refused(p, "the client fd00:30::1 is a router", "add fd00:30::1 to clients")
		ask(own(p, "172.30.0.2:1324"), "the container itself", noMethods)
		refused(p, "the client 172.30.0.2 is a router or this machine itself", "bip324-proxy check on this machine connects from there")
		ask(own(p, "127.0.0.1:1324"), "loopback, which is not in --clients", noMethods)

		if _, out, _ := run(t, "--listen", "[::]:1324", "--clients", "172.30.0.0/24", "check"); !strings.Contains(strings.Join(strings.Fields(out), " "), "ok listener [::]:1324: a SOCKS5 proxy answers; it refuses this machine") {
			t.Errorf("unexpected report of check:\n%s", out)
		}

		// A private destination stays refused.
		if got := socksAnswers(dial("172.30.0.3", "172.30.0.2:1324"), "172.30.0.4:8333"); !bytes.Equal(got, notAllowed) {
			t.Errorf("a destination in the network: got % x, want % x", got, notAllowed)
		}
		// A client without SOCKS whose VERSION names the destination.
		for from, reason := range map[string]string{"172.30.0.4": "is a private address", "172.31.0.7": "is not admitted"} {
			nc := dial(from, "172.30.0.2:1324")
			nc.Write(redirectTo("172.30.0.4:8333"))
			e := p.await(t, "the end", func(e event) bool { return e.Msg == "session refused" && e.Client == nc.LocalAddr().String() })
			if !strings.Contains(e.Reason, reason) {
				t.Errorf("redirect from %s: got %+v, want reason %q", from, e, reason)
			}
			nc.Close()
		}
		p.kill()

		// A router listed by its address is admitted, and other clients with a password.
		p = startProxy(t, "--listen", "0.0.0.0:1324", "--clients", "172.30.0.0/24,172.30.0.1", "--auth", "u:p", "--allow", "127.0.0.1", "--log-level", "debug")
		ask(dial("172.30.0.1", "172.30.0.2:1324"), "the host, listed", admitted)
		ask(dial("172.30.0.3", "172.30.0.2:1324"), "a container", admitted)
		ask(dial("172.31.0.7", "172.30.0.2:1324"), "another network, without the password", noMethods)
		refused(p, "offers only the authentication methods", "some clients, such as Bitcoin Core, cannot send a password; if it may use the proxy, add 172.31.0.7 to clients")
		for password, want := range map[string]byte{"p": 0, "x": 1} {
			nc := dial("172.31.0.7", "172.30.0.2:1324")
			if err := exchange(nc, []byte{5, 1, 2}, []byte{5, 2}); err != nil {
				t.Error(err)
			}
			if err := exchange(nc, []byte("\x01\x01u\x01"+password), []byte{1, want}); err != nil {
				t.Errorf("password %s: %v", password, err)
			}
			nc.Close()
		}
		nc := dial("172.30.0.3", "172.30.0.2:1324") // like Core
		if err := exchange(nc, []byte{5, 2, 0, 2}, []byte{5, 2}); err != nil {
			t.Error(err)
		}
		if err := exchange(nc, []byte("\x01\x049f3b\x049f3b"), []byte{1, 0}); err != nil {
			t.Error(err)
		}
		nc.Close()
		p.kill()

		// Clients without SOCKS cannot send a password.
		p = startProxy(t, "--peer", "0.0.0.0:1325="+peer, "--clients", "172.30.0.3", "--auth", "u:p", "--allow", "127.0.0.1", "--log-level", "debug")
		for from, opens := range map[string]bool{"172.30.0.3": true, "172.30.0.4": false, "172.30.0.1": false} {
			nc := dial(from, "172.30.0.2:1325")
			fmt.Fprint(nc, "something else than v1\n")
			e := p.await(t, "an opened or refused session", func(e event) bool { return e.Client == nc.LocalAddr().String() })
			if (e.Msg == "session opened") != opens {
				t.Errorf("--peer, from %s: got %+v, want an open session: %v", from, e, opens)
			}
			nc.Close()
		}
	})
}

// redirectTo returns a VERSION that names the destination in addr_recv.
func redirectTo(dest string) []byte {
	addr, _ := net.ResolveTCPAddr("tcp", dest)
	payload := hostile.Version("/client:1/")
	copy(payload[28:], addr.IP.To16())
	binary.BigEndian.PutUint16(payload[44:], uint16(addr.Port))
	return hostile.V1("version", payload)
}

// 0.0.0.0/0 causes a warning.
func TestClientsFromEverywhere(t *testing.T) {
	p := startProxy(t, "--listen", "127.0.0.1:0", "--clients", "public:0.0.0.0/0")
	p.await(t, "a warning", func(e event) bool {
		return e.Level == "WARN" && strings.Contains(e.Msg, "--clients admits everyone")
	})
}
