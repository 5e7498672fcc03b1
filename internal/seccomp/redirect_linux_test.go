//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection of a program in Go arrives with its destination.
func TestRedirect(t *testing.T) {
	const want = "203.0.113.7:8333\n[2001:db8::7]:18444\nDNS\nDNS\nDNS"
	got := output(t, program("dial", "203.0.113.7:8333", "[2001:db8::7]:18444", "203.0.113.7:53", "[2001:db8::7]:53", "127.0.0.1:53"))
	if got != want {
		t.Errorf("the proxy saw\n%s\nwant\n%s", got, want)
	}
}

// So does that of a blocking socket; IPv4 in IPv6 arrives as IPv4.
func TestRedirectBlocking(t *testing.T) {
	for _, c := range []struct{ domain, addr, want string }{
		{"4", "203.0.113.7:8333", "203.0.113.7:8333"},
		{"6", "[2001:db8::7]:8333", "[2001:db8::7]:8333"},
		{"6", "[::ffff:203.0.113.7]:8333", "203.0.113.7:8333"},
	} {
		if got := output(t, program("blocking", c.domain, c.addr)); got != c.want {
			t.Errorf("the proxy saw %s, want %s", got, c.want)
		}
	}
}

// A thousand connections at once all arrive with the right destination.
func TestRedirectMany(t *testing.T) {
	if got := output(t, program("many")); got != "" {
		t.Error(got)
	}
}

// A connection to loopback is not redirected.
func TestLoopbackIsDirect(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "direct")
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, cmd := range []*exec.Cmd{
		program("dial", l.Addr().String(), "[::ffff:127.0.0.1]:"+port, "0.0.0.0:"+port),
		program("blocking", "6", "[::ffff:127.0.0.1]:"+port),
	} {
		if got := output(t, cmd); strings.Trim(got, "direct\n") != "" || got == "" {
			t.Errorf("%q", got)
		}
	}
}

// A connection to a listener that does not accept holds up no other one.
func TestFullQueueHoldsUpNone(t *testing.T) {
	cmd := program("full", "203.0.113.7:8333")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	supervisor := newProxy(t).start(t, cmd)
	for len(supervisor.blocking) == 0 {
		select {
		case <-supervisor.ended:
			t.Fatal("the program ended")
		default:
			runtime.Gosched()
		}
	}
	stdin.Close()
	out, err := io.ReadAll(stdout)
	if string(out) != "203.0.113.7:8333\n" {
		t.Errorf("%q, %v", out, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// connect(2) returns what it returns without a supervisor.
func TestConnectErrors(t *testing.T) {
	const want = `again: EISCONN
disconnect: ok
after that: ok
without blocking: EINPROGRESS
then: ok
and then: EISCONN
no address: EFAULT
no socket: ENOTSOCK
no descriptor: EBADF`
	if got := output(t, program("repeat", "203.0.113.7:8333")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The address that was read is the one that is connected to, though a thread changes it.
func TestSwappedAddress(t *testing.T) {
	if got := output(t, program("swap", "203.0.113.7:8333", "203.0.113.8:8333")); got != "" {
		t.Error(got)
	}
}

// Ways around connect(2) are closed.
func TestOtherCalls(t *testing.T) {
	const want = `tcp: ok
udp: ok
unix: ok
netlink: ok
raw: EPERM
raw IPv6: EPERM
ping: EPERM
SCTP: EPERM
UDP-Lite: EPERM
packet: EPERM
old packet: EPERM
vsock: EPERM
SMC: EPERM
io_uring: ENOSYS
fast open by sendto: ENOTSUP
fast open by sendmsg: ENOTSUP`
	if got := output(t, program("calls")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Datagrams go to loopback, and DNS queries of connected sockets to the proxy.
func TestDatagrams(t *testing.T) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go answerDatagrams(c)
	local := c.LocalAddr().String()
	want := strings.ReplaceAll(`sendto LOCAL: ok
answer to to LOCAL ok
sendmsg LOCAL: ENETUNREACH
sendto 127.0.0.1:53: ENETUNREACH
sendmsg 127.0.0.1:53: ENETUNREACH
sendto 203.0.113.7:53: ENETUNREACH
sendmsg 203.0.113.7:53: ENETUNREACH
sendto 203.0.113.7:123: ENETUNREACH
sendmsg 203.0.113.7:123: ENETUNREACH
connect 203.0.113.7:123: ENETUNREACH
connect 127.0.0.53:53: ok
connect 203.0.113.7:53: ok
answer to send ok
answer to sendmsg ok
answer to sendmmsg ok
sendmmsg with an address: ENETUNREACH`, "LOCAL", local)
	if got := output(t, program("datagrams", local)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A connection to the listener that the command did not make has no destination.
func TestNotRedirected(t *testing.T) {
	cmd := program("dial-after", "203.0.113.7:8333")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t)
	p.start(t, cmd)
	line, err := firstLine(fmt.Sprintf("127.0.0.1:%d", p.ports.TCP))
	if line != "known: false, known twice: false" {
		t.Errorf("%q, %v", line, err)
	}
	stdin.Close()
	cmd.Wait()
}

// Names are looked up through the proxy, whatever the system's DNS server is.
func TestLookup(t *testing.T) {
	if got := output(t, program("lookup", "node.example.")); got != "[203.0.113.9 2001:db8::9]" {
		t.Errorf("%q", got)
	}
}

// Where the supervisor may not trace the command, an error says what to allow, and the
// command does not start.
func TestUntraceable(t *testing.T) {
	out, err := program("untraceable", "1", "127.0.0.1:1").Output()
	if err == nil || !strings.Contains(string(out), "pidfd_getfd") || !strings.Contains(string(out), "--cap-add SYS_PTRACE") ||
		strings.Contains(string(out), "ready") {
		t.Errorf("%q, %v", out, err)
	}
}

// A process has one supervisor.
func TestSupervisedTwice(t *testing.T) {
	cmd := program("supervise", "1", "127.0.0.1:1")
	var out strings.Builder
	cmd.Stdout = &out
	newProxy(t).start(t, cmd)
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "runs under another supervisor") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// When the supervisor is killed, the command and its children connect nowhere.
func TestKilledSupervisor(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cmd := program("supervise", port, l.Addr().String()) // even a connection to loopback
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := bufio.NewReader(r)
	line, err := out.ReadString('\n')
	if strings.Contains(line, "cannot be redirected") {
		t.Skip(line)
	}
	if line != "ready\n" {
		t.Fatalf("%q: %v", line, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	stdin.Close()
	rest, err := io.ReadAll(out)
	if got := string(rest); !strings.HasPrefix(got, "ENOSYS\n") || !strings.HasSuffix(got, unix.ENOSYS.Error()+"\n") {
		t.Errorf("%q, %v; want ENOSYS, from the command and from its child", got, err)
	}
}

// What Start cannot start is an error that names it.
func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "missing"): fs.ErrNotExist,
		dir:                           fs.ErrPermission,
		script:                        fs.ErrNotExist,
		"no-such-command":             exec.ErrNotFound,
	} {
		s, err := Start(exec.Command(path), Ports{TCP: 1})
		if unavailable := new(UnavailableError); errors.As(err, &unavailable) {
			t.Skip(err)
		}
		if s != nil || !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want %v", path, err, want)
		}
	}
}

// The command has the process's id, its arguments, environment, descriptors and exit code.
func TestCommandIsUntouched(t *testing.T) {
	needsNative(t)
	p := newProxy(t)
	results := make(map[bool]string)
	for _, supervised := range []bool{false, true} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", `echo "$$ $0 $1 $NAME" >&3; ls /proc/self/fd >&3; kill -TERM $$`, "zero", "one two")
		cmd.Env = append(os.Environ(), "NAME=value")
		cmd.ExtraFiles = []*os.File{w}
		if supervised {
			p.start(t, cmd)
		} else if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd.Wait()
		pid, rest, _ := strings.Cut(string(out), " ")
		results[supervised] = fmt.Sprint(pid == strconv.Itoa(cmd.Process.Pid), " ", rest, cmd.ProcessState)
	}
	if results[true] != results[false] || !strings.HasPrefix(results[true], "true zero one two value\n") {
		t.Errorf("%q\nwithout a supervisor %q", results[true], results[false])
	}
}
