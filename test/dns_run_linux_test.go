package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// resolvers are programs that look up a name and print its addresses, each on a line.
func resolvers(t *testing.T) map[string]func(name string) []string {
	all := map[string]func(name string) []string{
		"Go": func(name string) []string {
			return []string{"env", lookUp + "=" + name, "GODEBUG=netdns=go", os.Args[0]}
		},
		"Go with the C library": func(name string) []string {
			return []string{"env", lookUp + "=" + name, "GODEBUG=netdns=cgo", os.Args[0]}
		},
	}
	for program, args := range map[string]func(name string) []string{
		"getent": func(name string) []string {
			return []string{"sh", "-c", `getent ahosts "$0" >"$1" && sort "$1" | cut -d' ' -f1 | uniq`, name, filepath.Join(t.TempDir(), "out")}
		},
		"python3": func(name string) []string {
			return []string{python, "-c", "import socket, sys\nfor a in socket.getaddrinfo(sys.argv[1], 8333, type=socket.SOCK_STREAM): print(a[4][0])", name}
		},
		"busybox": func(name string) []string {
			return []string{"sh", "-c", `busybox nslookup "$0" >"$1" && sed -n 's/^Address: //p' "$1"`, name, filepath.Join(t.TempDir(), "out")}
		},
	} {
		if _, err := exec.LookPath(program); err == nil {
			all[program] = args
		} else {
			t.Logf("not run with %s, which is missing", program)
		}
	}
	return all
}

// lookUpDaemons plays the daemons that look up names for others. It returns how often programs asked them.
func lookUpDaemons(t *testing.T) (asked func() int64) {
	t.Helper()
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount("/run", syscall.MNT_DETACH) })
	var n atomic.Int64
	for _, path := range []string{"/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve", "/run/avahi-daemon/socket"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", path)
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
				n.Add(1)
				conn.Close()
			}
		}()
	}
	return n.Load
}

// runGuest runs a command by "run", and returns its exit code and what it printed. Its log is the test's.
func runGuest(t *testing.T, flags, args []string) (code int, stdout string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, binaries.proxy, slices.Concat([]string{"run"}, flags, []string{"--"}, args)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	t.Logf("run %q: exit code %d\n%s%s", args, cmd.ProcessState.ExitCode(), out.String(), errs.String())
	return cmd.ProcessState.ExitCode(), out.String()
}

// Under "run", all resolvers get names from the proxy's own lookup, and from nothing else.
func TestRunNames(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	daemons := lookUpDaemons(t)
	useFile(t, "/etc/nsswitch.conf", "hosts: files dns\n")
	useNameservers(t, "127.0.0.53")
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("203.0.113.%d", i))
	}
	asked := serveZone(t, map[string][]string{
		"both.example.":   {"203.0.113.7", "2001:db8::7"},
		"four.example.":   {"203.0.113.4"},
		"many.example.":   many,
		"denied.example.": {"203.0.113.9"},
		"part.example.":   {"198.51.100.1", "203.0.113.10"},
	})
	flags := []string{"--log-level", "debug", "--deny", "denied.example", "--deny", "198.51.100.0/24"}
	var all []string
	for name, want := range map[string][]string{
		"both.example":    {"2001:db8::7", "203.0.113.7"},
		"four.example":    {"203.0.113.4"},
		"many.example":    many, // too many for a reply by UDP without EDNS
		"part.example":    {"203.0.113.10"},
		"denied.example":  nil,
		"unknown.example": nil,
		"name.onion":      nil,
	} {
		if want != nil || name == "unknown.example" {
			all = append(all, name+".")
		}
		for resolver, args := range resolvers(t) {
			if resolver == "busybox" && name == "many.example" {
				continue // its nslookup does not use TCP
			}
			t.Run(resolver+" "+name, func(t *testing.T) {
				code, out := runGuest(t, flags, args(name))
				if want == nil {
					if code == 0 && resolver != "busybox" { // its exit code is 0 if the server said that there is none
						t.Error("the name was found")
					}
					return
				}
				got := strings.Fields(out)
				slices.Sort(got)
				want = slices.Sorted(slices.Values(want))
				if resolver == "getent" && name == "both.example" && slices.Equal(got, []string{"203.0.113.7"}) {
					return // the C library of some systems omits IPv6 where the machine has no address of its own
				}
				if code != 0 || !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
	slices.Sort(all)
	if got := asked(); !slices.Equal(got, all) {
		t.Errorf("the proxy looked up %v, want %v", got, all)
	}
	if n := daemons(); n > 0 {
		t.Errorf("programs asked daemons outside %d times", n)
	}
}

// Under "run", the proxy answers for every DNS server, by UDP and TCP.
func TestRunDNSServers(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	requireInstalled(t, python)
	useFile(t, "/etc/nsswitch.conf", "hosts: files dns\n")
	useNameservers(t, "127.0.0.53")
	serveZone(t, map[string][]string{"a.example.": {"203.0.113.7"}})
	const client = `
import socket, struct
query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\1a\7example\0\0\1\0\1"
for ip in "8.8.8.8", "198.18.0.1", "127.0.0.1", "127.0.0.53", "2001:4860:4860::8888", "::1", "::ffff:8.8.8.8":
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
        s = socket.socket(family, kind)
        s.settimeout(60)
        s.connect((ip, 53)) # so that an answer from another address is none
        s.sendall(query if kind == socket.SOCK_DGRAM else struct.pack(">H", len(query)) + query)
        answer = s.recv(1000)
        assert answer.endswith(socket.inet_aton("203.0.113.7")), (ip, kind, answer)
        s.close()
`
	if code, _ := runGuest(t, []string{"--log-level", "debug"}, []string{python, "-c", client}); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Under "run", a program without SOCKS reaches names that only an upstream proxy resolves.
func TestRunOnionName(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	requireInstalled(t, python)
	useFile(t, "/etc/nsswitch.conf", "hosts: files dns\n")
	useNameservers(t, "127.0.0.53")
	zone := serveZone(t, nil)
	const client = `
import socket, sys
for name in sys.argv[1:]:
    s = socket.create_connection((name, 8444), 60)
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert s.recv(100), name
    s.close()
try:
    socket.create_connection(("198.19.77.77", 8444), 60).recv(1)
    assert False, "an address without a name"
except ConnectionError:
    pass
`
	for what, flags := range map[string]func(upstream string) []string{
		"upstream":      func(upstream string) []string { return []string{"--upstream", "socks5://" + upstream} },
		"running proxy": func(upstream string) []string { return []string{"--proxy", upstream} },
	} {
		t.Run(what, func(t *testing.T) {
			upstream, asked := startUpstream(t, "127.0.0.1:0", false, func(string) played {
				return func(nc *net.TCPConn) { io.Copy(nc, nc) }
			})
			code, _ := runGuest(t, append(flags(upstream), "--log-level", "debug"),
				[]string{python, "-c", client, "name.onion", "node.example", "NAME.ONION"})
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			var dests []string
			for _, a := range asked() {
				if a.command == socksConnect {
					dests = append(dests, a.dest)
				}
			}
			if want := []string{"name.onion:8444", "node.example:8444", "name.onion:8444"}; !slices.Equal(dests, want) {
				t.Errorf("the proxy there was asked for %v, want %v", dests, want)
			}
		})
	}
	if names := zone(); len(names) > 0 {
		t.Errorf("the system's resolver was asked for %v", names)
	}
}
