package test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/test/hostile"
)

// inOwnNetwork runs f in a new network namespace, configured by the ip(8) commands, one per line.
func inOwnNetwork(t *testing.T, commands string, f func(ip func(string))) {
	t.Helper()
	if !namespace(t) {
		return
	}
	ip := func(commands string) {
		for line := range strings.Lines(commands) {
			args := strings.Fields(line)
			if len(args) == 0 {
				continue
			}
			command(t, "ip", args...)
			if args[0] == "addr" && args[1] == "add" && strings.Contains(args[2], ":") {
				host, _, _ := strings.Cut(args[2], "/")
				awaitAddress(t, host)
			}
		}
	}
	ip(commands)
	f(ip)
}

// awaitAddress waits until a new address can be connected to: a packet to it can still get lost, and the next find no route.
func awaitAddress(t *testing.T, host string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	eventually(t, "a connection to "+host, func() bool {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

// Clients of a public listener reach neither this host nor its networks, at any address, including one added later;
// clients of a loopback listener do, and so do others with --allow.
func TestPublicClientsReachNothingLocal(t *testing.T) {
	t.Parallel()
	inOwnNetwork(t, `link add net0 type veth peer name net1
		link set net0 up
		link set net1 up
		addr add 8.8.4.4/32 dev lo
		addr add 203.0.113.77/32 dev lo
		addr add 9.9.9.9/24 dev net0
		addr add 2600:1::5/64 dev net0 nodad
		addr add 64:ff9b:1::c0a8:101/128 dev lo nodad`, func(ip func(string)) {
		service := testkit.ServeAt(t, "[::]:0", func(nc net.Conn) { io.WriteString(nc, "internal service") })
		_, port, _ := net.SplitHostPort(service)
		public := startProxy(t, "--listen", "0.0.0.0:0", "--auth", "u:p", "--allow", "203.0.113.77")
		code := func(p *proxy, host string) byte {
			t.Helper()
			server := strings.ReplaceAll(p.addr, "[::]", "127.0.0.1")
			conn, reply := socksRequest{server: server, user: "u", password: "p", command: socksConnect, dest: net.JoinHostPort(host, port)}.send(t)
			conn.Close()
			return reply[1]
		}
		public.addr = public.awaitListener(t, "0.0.0.0:", "[::]:")
		local := &proxy{public.program, public.awaitListener(t, "127.0.0.1:")}
		here := []string{"127.0.0.1", "8.8.4.4", "9.9.9.9", "2600:1::5", "64:ff9b:1::c0a8:101", "::ffff:8.8.4.4", "localhost", "127.1", "0x8080404", "8.8.1028", "010.010.4.4"}
		for _, host := range append(here, "LOCALHOST.", "9.9.9.1", "2600:1::77", "64:ff9b::8.8.4.4", "2002:808:404::1", "198.51.100.1", "3fff::1", "2001:0:808:404::f7f7:f7f7", "0", "::") {
			if got := code(public, host); got != 2 {
				t.Errorf("%s: got reply %d, want 2", host, got)
			}
		}
		if got := code(public, "203.0.113.77"); got != 0 {
			t.Errorf("with --allow: got reply %d, want 0", got)
		}
		for _, host := range here {
			if got := code(local, host); got != 0 {
				t.Errorf("%s, for a client of a loopback listener: got reply %d, want 0", host, got)
			}
		}
		if got := code(public, "8.8.5.5"); got == 2 {
			t.Error("a remote address is refused by the rules")
		}
		ip("addr add 8.8.5.5/32 dev lo")
		if got := code(public, "8.8.5.5"); got != 2 {
			t.Errorf("a new address: got reply %d, want 2", got)
		}
		ip("addr del 8.8.5.5/32 dev lo")
		if got := code(public, "8.8.5.5"); got == 2 {
			t.Error("a removed address is still refused by the rules")
		}
	})
}

// awaitListener returns the address of the listener whose address has one of these prefixes.
func (p *proxy) awaitListener(t *testing.T, begins ...string) (addr string) {
	t.Helper()
	return p.await(t, "listening", func(e event) bool {
		return e.Msg == "listening" && slices.ContainsFunc(begins, func(b string) bool { return strings.HasPrefix(e.Addr, b) })
	}).Addr
}

// Refused destinations do not reach an upstream proxy either; with --auth the upstream gets an isolation mark, not the
// password.
func TestPublicClientsBehindAnUpstream(t *testing.T) {
	t.Parallel()
	inOwnNetwork(t, "addr add 8.8.4.4/32 dev lo", func(func(string)) {
		upstream, asked := startUpstream(t, "127.0.0.1:0", true, anywhere(echoPeer))
		p := startProxy(t, "--listen", "0.0.0.0:0", "--auth", "u:p", "--upstream", "socks5://"+upstream)
		p.addr = p.awaitListener(t, "0.0.0.0:", "[::]:")
		server := strings.ReplaceAll(p.addr, "[::]", "127.0.0.1")
		for _, host := range []string{"127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "0x7f.1.", "0", "localhost", "a.LocalHost..", "8.8.4.4", "ip6-localhost", "10.0.0.1", "192.0.2.1"} {
			for _, command := range []byte{socksConnect, torResolve} {
				if host == "0" && command == torResolve {
					continue // only Tor answers this probe
				}
				r := socksRequest{server: server, user: "u", password: "p", command: command, dest: net.JoinHostPort(host, "8333"), asName: true}
				if reply := r.refused(t); reply[1] != 2 {
					t.Errorf("%s, command %#x: got reply %d, want 2", host, command, reply[1])
				}
			}
		}
		if all := asked(); len(all) > 0 {
			t.Errorf("the upstream proxy got requests %+v, want none", all)
		}
		for range 2 {
			socksRequest{server: server, user: "u", password: "p", command: socksConnect, dest: "node.example:8333"}.granted(t).Close()
		}
		all := asked()
		if len(all) != 2 || all[0] != all[1] || all[0].methods != "\x02\x00" || len(all[0].user) < 20 || all[0].user != all[0].password {
			t.Errorf("the upstream proxy got requests %+v, want two with the same mark", all)
		}
	})
}

// v1Node answers a VERSION in v1 and hangs up on everything else. It sends what it reads first to got.
func v1Node(got chan<- []byte) played {
	return func(nc *net.TCPConn) {
		b := make([]byte, 4096)
		n, _ := nc.Read(b)
		got <- b[:n]
		if n >= 24 && string(b[4:11]) == "version" {
			nc.Write(hostile.V1("version", hostile.Version("/old:0.1/")))
			io.Copy(io.Discard, nc)
		}
	}
}

// Plaintext over an overlay network is encrypted by it, so --v1-fallback overlay allows it and counts it as encrypted.
func TestOverlayNetworks(t *testing.T) {
	t.Parallel()
	inOwnNetwork(t, `addr add 203.0.113.50/32 dev lo
		addr add fc00:1::7/128 dev lo nodad`, func(func(string)) {
		got := make(chan []byte, 100)
		node := v1Node(got)
		cjdns := testkit.ServeAt(t, "[fc00:1::7]:0", func(nc net.Conn) { node(nc.(*net.TCPConn)) })
		const onion = "abcdefgh.onion:8333"
		near, _ := startUpstream(t, "127.0.0.1:0", true, anywhere(node))
		far, _ := startUpstream(t, "203.0.113.50:0", true, anywhere(node))
		plain, _ := startUpstream(t, "127.0.0.1:0", false, anywhere(node))
		for _, c := range []struct {
			dest, upstream string
			cjdns          bool
			encrypts       bool
			hint           string
			warning        string // check's; empty if none
		}{
			{cjdns, "", false, false, "only with --cjdnsreachable", ""},
			{cjdns, "", true, true, "", ""},
			{cjdns, near, true, true, "", ""},
			{cjdns, far, true, false, "the upstream proxy is not on this machine", "this is Tor, but on another machine"},
			{onion, near, false, true, "", ""},
			{onion, far, true, false, "the upstream proxy is not on this machine", "this is Tor, but on another machine"},
			{onion, plain, true, false, "does not answer as Tor does", ".onion peers without v2 "},
		} {
			for _, fallback := range []string{"overlay", "always"} {
				flags := []string{"--v1-fallback", fallback, "--cjdnsreachable=" + fmt.Sprint(c.cjdns)}
				if c.upstream != "" {
					flags = append(flags, "--upstream", "socks5://"+c.upstream)
				}
				if c.warning != "" {
					if _, out, _ := run(t, append(slices.Clone(flags), "check")...); !strings.Contains(strings.Join(strings.Fields(out), " "), c.warning) {
						t.Errorf("check %q: got\n%s\nwant %q in it", flags, out, c.warning)
					}
				}
				p := startProxy(t, append(flags, "--status", "127.0.0.1:0")...)
				page := p.statusAddr(t)
				nc, err := hostile.Connect(p.addr, c.dest, patience)
				if err != nil {
					t.Fatal(err)
				}
				nc.Write(hostile.V1("version", hostile.Version("/client:1/")))
				notV1 := func() {
					if b := <-got; len(b) < 64 || string(b[4:11]) == "version" {
						t.Errorf("%q, %s: got %q", flags, c.dest, b)
					}
				}
				plaintext := func() bool { // whether the third connection, if any, speaks v1
					notV1()
					refused := false
					e := p.await(t, "an opened or refused session", func(e event) bool {
						refused = e.Msg == "session refused"
						return refused || e.Msg == "session opened"
					})
					if refused {
						if !strings.Contains(e.Hint, c.hint) || c.hint == "" {
							t.Errorf("%q, %s: got hint %q, want %q", flags, c.dest, e.Hint, c.hint)
						}
						return false
					}
					if want := map[bool]string{true: "INFO", false: "WARN"}[c.encrypts]; e.Level != want || e.Transport != "v1" {
						t.Errorf("%q, %s: logged %+v, want %s", flags, c.dest, e, want)
					}
					notV1() // v2 is tried a second time
					if b := <-got; len(b) < 24 || string(b[4:11]) != "version" {
						t.Errorf("%q, %s: last got %q", flags, c.dest, b)
					}
					return true
				}()
				if want := c.encrypts || fallback == "always"; plaintext != want {
					t.Errorf("%q, %s: spoke v1: %v, want %v", flags, c.dest, plaintext, want)
				}
				if plaintext {
					code, out, errs := run(t, "status", page)
					verdict := map[bool]string{true: "encrypted?\nYes: ", false: "encrypted?\nNO: "}[c.encrypts]
					if code != 0 || !strings.Contains(out, verdict) {
						t.Errorf("%q, %s: got exit code %d, %s%s; want %q", flags, c.dest, code, out, errs, verdict)
					}
				}
				nc.Close()
				p.kill()
				if len(got) > 0 {
					t.Errorf("%q, %s: unexpected third connection", flags, c.dest)
				}
			}
		}
	})
}
