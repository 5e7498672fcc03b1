package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bip324proxy/test/hostile"

	"golang.org/x/net/dns/dnsmessage"
)

// useFile mounts text over a system file, or creates the file if it does not exist.
func useFile(t *testing.T, path, text string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "file")
	writeFile(t, source, text)
	if err := os.Chmod(source, 0o644); err != nil { // for any user
		t.Fatal(err)
	}
	if err := syscall.Mount(source, path, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(path, syscall.MNT_DETACH) })
}

// serveZone answers DNS queries for names, each with a trailing dot, at 127.0.0.53, and returns the names that were
// queried, in lower case and once each.
func serveZone(t *testing.T, names map[string][]string) (asked func() []string) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.53:53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var mu sync.Mutex
	var all []string
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			name := strings.ToLower(q.Name.String())
			mu.Lock()
			all = append(all, name)
			mu.Unlock()
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if names[name] == nil {
				m.RCode = dnsmessage.RCodeNameError
			}
			for _, ip := range names[name] {
				var body dnsmessage.ResourceBody
				switch ip := netip.MustParseAddr(ip); {
				case q.Type == dnsmessage.TypeA && ip.Is4():
					body = &dnsmessage.AResource{A: ip.As4()}
				case q.Type == dnsmessage.TypeAAAA && ip.Is6():
					body = &dnsmessage.AAAAResource{AAAA: ip.As16()}
				default:
					continue
				}
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}, Body: body,
				})
			}
			if answer, err := m.Pack(); err == nil {
				c.WriteTo(answer, from)
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Compact(slices.Sorted(slices.Values(all)))
	}
}

// serveResolved plays a systemd-resolved that knows one name.
func serveResolved(t *testing.T, name, ip string) {
	t.Helper()
	const dir = "/run/systemd/resolve"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	l, err := net.Listen("unix", dir+"/io.systemd.Resolve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				question, _ := bufio.NewReader(conn).ReadString(0)
				if !strings.Contains(question, `"name":"`+name+`"`) {
					fmt.Fprintf(conn, `{"error":"io.systemd.Resolve.NoSuchResourceRecord","parameters":{}}%c`, 0)
					return
				}
				a := netip.MustParseAddr(ip).As4()
				fmt.Fprintf(conn, `{"parameters":{"addresses":[{"ifindex":1,"family":2,"address":[%d,%d,%d,%d]}],"name":"%s","flags":16}}%c`, a[0], a[1], a[2], a[3], name, 0)
			}()
		}
	}()
}

// The names in client requests, static peers and check that are looked up in DNS, with the search domains that apply,
// for Go's resolver and for the C library's.
func TestNames(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	for _, resolver := range []string{"go", "cgo"} {
		t.Run(resolver, func(t *testing.T) { testNames(t, resolver) })
	}
}

func testNames(t *testing.T, resolver string) {
	os.Setenv("GODEBUG", "netdns="+resolver) // the test runs in a separate process
	useFile(t, "/etc/resolv.conf", "nameserver 127.0.0.53\nsearch corp.example\noptions ndots:5\n")
	useFile(t, "/etc/hosts", "127.0.0.1 in-hosts.example hosts.local\n")
	useFile(t, "/etc/nsswitch.conf", "hosts: files dns\n")
	serveResolved(t, "umbrel.local", "127.0.0.1")
	const resolve = 0xf0
	right, wrong := []string{"127.0.0.1"}, []string{"127.0.0.8"}
	peer := listen(t, hostile.NodeOn(regtestMagic, "/node:1/"))
	_, port, _ := net.SplitHostPort(peer)
	for _, c := range []struct {
		host  string
		code  byte
		asked []string
	}{
		{"node.example", 0, []string{"node.example."}},
		{"node.example.", 0, []string{"node.example."}},
		{"short", 0, []string{"short.", "short.corp.example."}},
		{"absent.example", 4, []string{"absent.example."}},
		{"in-hosts.example", 0, nil},
		{"IN-hosts.example.", 0, nil},
		{"LOCALHOST.", 0, nil},
		{"a.localhost", 0, nil},
		{"umbrel.local", 0, nil},
		{"umbrel.local.", 0, nil},
		{"hosts.local", 0, nil},
		{"absent.local", 4, nil},
	} {
		t.Run(c.host, func(t *testing.T) {
			asked := serveZone(t, map[string][]string{"node.example.": right, "node.example.corp.example.": wrong, "short.corp.example.": right,
				"umbrel.local.": wrong, "absent.local.": wrong, "hosts.local.": wrong, "localhost.": wrong, "absent.example.corp.example.": wrong})
			static := freeAddr(t)
			p := startProxy(t, "--peer", static+"="+c.host+":"+port)
			if code, _ := askByName(t, p.addr, 1, c.host, port); code != c.code {
				t.Errorf("CONNECT: got reply %d, want %d", code, c.code)
			}
			if c.host == "absent.local" {
				p.await(t, "the reason", func(e event) bool {
					return strings.Contains(e.Reason, "names in .local need systemd-resolved or Avahi")
				})
			}
			if code, ip := askByName(t, p.addr, resolve, c.host, "0"); code != c.code || code == 0 && ip.String() != right[0] {
				t.Errorf("RESOLVE: got reply %d, %v, want %d", code, ip, c.code)
			}
			if !strings.HasSuffix(c.host, ".") && c.host != "short" { // check is slow
				_, stdout, _ := run(t, "check", "--network", "regtest", c.host+":"+port)
				if got := strings.Contains(stdout, "handshake complete"); got != (c.code == 0) {
					t.Errorf("got a handshake by check: %v, want %v\n%s", got, c.code == 0, stdout)
				}
			}
			if client, err := net.Dial("tcp", static); err != nil {
				t.Error(err)
			} else {
				client.SetDeadline(time.Now().Add(patience))
				if c.code == 0 {
					speakV1(t, client)
				} else {
					client.Read(make([]byte, 1))
				}
				client.Close()
			}
			if got := asked(); !slices.Equal(got, c.asked) {
				t.Errorf("DNS was queried for %q, want %q", got, c.asked)
			}
		})
	}
}

// Each address of a name gets its turn.
func TestAnyAddressOfAName(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	useNameservers(t, "127.0.0.53")
	var ips []string
	for i := range 25 {
		ips = append(ips, fmt.Sprintf("127.0.1.%d", i+1))
	}
	serveZone(t, map[string][]string{"seed.example.": ips})
	p := startProxy(t)
	got := make(map[string]bool)
	for range 24 {
		code, ip := askByName(t, p.addr, 0xf0, "seed.example", "0")
		if code != 0 || !slices.Contains(ips, ip.String()) {
			t.Fatalf("got reply %d, %v; want one of %v", code, ip, ips)
		}
		got[ip.String()] = true
	}
	if len(got) < 5 {
		t.Errorf("24 lookups returned only %v", got)
	}
}

// A link-local address may have an interface as its zone wherever an address is accepted; an upstream proxy never gets
// such an address.
func TestZones(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	command(t, "ip", "-6", "addr", "add", "fe80::7/64", "dev", "lo", "nodad")
	const zoned = "fe80::7%lo"
	peer := listen(t, hostile.NodeOn(regtestMagic, "/node:1/"))
	_, port, _ := net.SplitHostPort(peer)
	l, err := net.Listen("tcp", net.JoinHostPort(zoned, port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go forward(nc, peer)
		}
	}()
	eventuallyWithin(t, patience, "a route to the address", func() bool {
		nc, err := net.Dial("tcp", net.JoinHostPort(zoned, port))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	static := freeAddr(t)
	p := startProxy(t, "--peer", static+"="+net.JoinHostPort(zoned, port), "--v1-fallback", "always")
	for _, host := range []string{zoned, "fe80::7%1", "[fe80::7%lo]", "FE80:0::7%lo"} {
		if code, _ := askByName(t, p.addr, 1, host, port); code != 0 {
			t.Errorf("%s: got reply %d, want 0", host, code)
		}
	}
	for _, host := range []string{"fe80::7%nothing", "::1%lo", "fe80::7%", "fe80::7", "127.0.0.1%lo", "node.example%lo"} {
		if code, _ := askByName(t, p.addr, 1, host, port); code == 0 {
			t.Errorf("%s was connected to", host)
		}
	}
	p.await(t, "the reason", func(e event) bool {
		return strings.Contains(e.Reason, "fe80::7%nothing") && strings.Contains(e.Reason, "no such interface")
	})
	p.await(t, "advice", func(e event) bool {
		return strings.Contains(e.Reason, "fe80::7") && strings.Contains(e.Reason, "such as fe80::1%eth0")
	})
	client, err := net.Dial("tcp", static)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(patience))
	speakV1(t, client)
	check(t, "--network", "regtest", net.JoinHostPort(zoned, port)).require(t, "v2", "ok", "handshake complete")

	denied := startProxy(t, "--deny", "fe80::/10")
	if code, _ := askByName(t, denied.addr, 1, zoned, port); code != 2 {
		t.Errorf("denied: got reply %d, want 2", code)
	}

	upstream, asked := startUpstream(t, net.JoinHostPort(zoned, "0"), false, func(string) played { return nil })
	_, upstreamPort, _ := net.SplitHostPort(upstream)
	for _, url := range []string{"socks5://[fe80::7%lo]:" + upstreamPort, "socks5://[fe80::7%25lo]:" + upstreamPort} {
		through := startProxy(t, "--upstream", url)
		if code, _ := askByName(t, through.addr, 1, "node.example", port); code != 5 {
			t.Errorf("%s: got reply %d, want the upstream's", url, code)
		}
		before := len(asked())
		if code, _ := askByName(t, through.addr, 1, zoned, port); code != 1 || len(asked()) != before {
			t.Errorf("%s got a request for %s: %+v; reply %d", url, zoned, asked()[before:], code)
		}
	}
}

// forward copies between nc and a server at to.
func forward(nc net.Conn, to string) {
	defer nc.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	go io.Copy(out, nc)
	io.Copy(nc, out)
}
