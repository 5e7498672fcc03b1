//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/dns"
)

// Programs in Python connect as libc does.
func TestPython(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"blocking, with a timeout": {`
import socket
c = socket.create_connection(("203.0.113.7", 8333), timeout=30)
print(c.makefile().readline(), end="")
c = socket.create_connection(("2001:db8::7", 8333))
print(c.makefile().readline(), end="")`, "203.0.113.7:8333\n[2001:db8::7]:8333"},
		"asyncio": {`
import asyncio
async def one(i):
    r, w = await asyncio.open_connection("203.0.113.%d" % i, 8333)
    w.write(b"line\n")
    got = await r.readline(), await r.readline()
    assert got == (b"203.0.113.%d:8333\n" % i, b"line\n"), got
    w.close()
async def main():
    await asyncio.gather(*[one(i) for i in range(1, 200)])
asyncio.run(main())
print("done")`, "done"},
		"threads and children": {`
import os, socket, threading
def one(i):
    s = socket.socket()
    s.connect(("203.0.113.%d" % i, 8333))
    line = s.makefile().readline()
    assert line == "203.0.113.%d:8333\n" % i, line
pids = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        threads = [threading.Thread(target=one, args=(i,)) for i in range(1, 50)]
        for t in threads: t.start()
        for t in threads: t.join()
        os._exit(0)
    pids.append(pid)
for pid in pids:
    assert os.waitpid(pid, 0)[1] == 0
print("done")`, "done"},
		"signals that restart calls": {`
import signal, socket
count = 0
def handler(*_):
    global count
    count += 1
signal.signal(signal.SIGALRM, handler)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
for i in range(500):
    s = socket.socket()
    s.connect(("203.0.113.7", 8333))
    line = s.makefile().readline()
    assert line == "203.0.113.7:8333\n", line
    s.close()
signal.setitimer(signal.ITIMER_REAL, 0)
assert count > 0
print("done")`, "done"},
		// If a call is interrupted before the supervisor has seen it, Python takes the
		// socket for connected, which it is not.
		"signals that interrupt calls": {`
import signal, socket
count = 0
def handler(*_):
    global count
    count += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
done = 0
while done < 500:
    s = socket.socket()
    s.connect(("203.0.113.7", 8333))
    try:
        line = s.makefile().readline()
    except OSError as e:
        assert e.errno == 107, e # ENOTCONN
        continue
    assert line == "203.0.113.7:8333\n", line
    s.close()
    done += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert count > 0
print("done")`, "done"},
		"a lookup": {`
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("192.0.2.53", 53))
s.send(b"query")
print(s.recv(100).decode())`, "answer to query"},
		"a source address": {`
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
port = s.getsockname()[1]
s.connect(("203.0.113.7", 8333))
assert s.getsockname() == ("127.0.0.1", port)
print(s.makefile().readline(), end="")
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 30, 1) # TCP_FASTOPEN_CONNECT
s.connect(("203.0.113.8", 8333))
s.send(b"data\n")
print(s.makefile().readline(), end="")`, "203.0.113.7:8333\n203.0.113.8:8333"},
		"MPTCP": {`
import socket
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError: # a kernel without it
    s = socket.socket()
s.connect(("203.0.113.7", 8333))
print(s.makefile().readline(), end="")`, "203.0.113.7:8333"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "signals") && !waitsKillable() {
				t.Skip("signals interrupt calls that the supervisor has seen; needs Linux 5.19")
			}
			if got := output(t, python(t, c.script)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// waitsKillable reports whether only fatal signals interrupt a call that the supervisor has
// seen: then the kernel knows the flag, and finds nothing else wrong but the null filter.
func waitsKillable() bool {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0)
	return errno == unix.EFAULT
}

// Unix sockets connect, but those of the system's resolvers are not there.
func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "daemon"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"daemon/socket", "other"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	before := dns.Daemons
	t.Cleanup(func() { dns.Daemons = before })
	dns.Daemons = append([]string{filepath.Join(dir, "daemon")}, before...)

	const script = `
import socket, sys
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("ok")
    except OSError as e:
        print(e.errno)
abstract = socket.socket(socket.AF_UNIX)
abstract.bind(b"")
abstract.listen()
socket.socket(socket.AF_UNIX).connect(abstract.getsockname())`
	got := output(t, python(t, script, filepath.Join(dir, "other"), filepath.Join(dir, "daemon/socket"), "/var"+filepath.Join(dir, "daemon/socket")))
	if want := "ok\n2\n2"; got != want { // ENOENT
		t.Errorf("%q, want %q", got, want)
	}
}
