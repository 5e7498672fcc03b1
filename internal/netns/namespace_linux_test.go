package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	guests["connect"] = func() {
		for _, dest := range []string{
			"192.0.2.1:8333", "[2001:db8::1]:8333", "[::ffff:192.0.2.1]:8333", "192.0.2.1:53", "[2001:db8::1]:53", "198.18.0.1:53", "127.0.0.1:53",
			"127.0.0.1:8333", "127.0.1.1:8333", "0.0.0.0:8333", "198.18.0.1:8333", "[::1]:8333", "[2001:2::1]:8333",
		} {
			fmt.Println(dest, "->", connect(dest, false))
		}
		fmt.Println("Multipath TCP ->", connect("192.0.2.1:8333", true))
		for _, dest := range []string{"127.0.0.53:53", "192.0.2.1:53", "[2001:db8::1]:53"} {
			fmt.Println("UDP", dest, "->", ask(dest))
		}
		c := must(net.Dial("udp", "192.0.2.1:123"))
		must(c.Write([]byte("query")))
		_, err := c.Read(make([]byte, 1))
		fmt.Println("UDP 192.0.2.1:123 ->", errors.Unwrap(errors.Unwrap(err)))
	}
}

// connect returns what the listener says.
func connect(dest string, multipath bool) string {
	d := net.Dialer{}
	d.SetMultipathTCP(multipath)
	c, err := d.DialContext(context.Background(), "tcp", dest)
	if err != nil {
		return errors.Unwrap(errors.Unwrap(err)).Error()
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

func ask(dest string) string {
	c := must(net.ListenPacket("udp", ":0")) // the answer comes from another address
	defer c.Close()
	must(c.WriteTo([]byte("query"), must(net.ResolveUDPAddr("udp", dest))))
	b := make([]byte, 512)
	n, _, err := c.ReadFrom(b)
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

func TestRedirected(t *testing.T) {
	const want = `192.0.2.1:8333 -> 192.0.2.1:8333 <nil>
[2001:db8::1]:8333 -> [2001:db8::1]:8333 <nil>
[::ffff:192.0.2.1]:8333 -> 192.0.2.1:8333 <nil>
192.0.2.1:53 -> 192.0.2.1:53 <nil>
[2001:db8::1]:53 -> [2001:db8::1]:53 <nil>
198.18.0.1:53 -> 198.18.0.1:53 <nil>
127.0.0.1:53 -> 127.0.0.1:53 <nil>
127.0.0.1:8333 -> connection refused
127.0.1.1:8333 -> connection refused
0.0.0.0:8333 -> connection refused
198.18.0.1:8333 -> connection refused
[::1]:8333 -> connection refused
[2001:2::1]:8333 -> connection refused
Multipath TCP -> 192.0.2.1:8333 <nil>
UDP 127.0.0.53:53 -> DNS packet
UDP 192.0.2.1:53 -> DNS packet
UDP [2001:db8::1]:53 -> DNS packet
UDP 192.0.2.1:123 -> connection refused
`
	if len(newNamespace(t).Redirected) < 2 {
		t.Skip("the system has no IPv6")
	}
	for _, u := range users() {
		t.Run(u.name, func(t *testing.T) {
			if got := u.run(t, nil, guest("connect")...); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// What a process inherits reaches the command as if it had been started directly.
func TestInherited(t *testing.T) {
	prefix := []string{"sh", "-c", `ulimit -Sn 300; ulimit -Hn 400; umask 027; trap "" HUP INT; exec 7>&1; exec nice -n 5 "$@"`, "sh"}
	command := []string{"/bin/sh", "-c", `printf "%s." "$@"; ulimit -Sn; ulimit -Hn; umask; nice; pwd; env | grep -v ^_=
grep -E '^(Sig|Shd|Groups|Uid|Gid|NoNewPrivs|Umask)' /proc/self/status | grep -v SigQ
cd /proc/$$/fd; for fd in *; do echo $fd $(readlink $fd | sed s/pipe.*/pipe/); done`, "name", "one", "two words", ""}
	for _, u := range users() {
		t.Run(u.name, func(t *testing.T) {
			out, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			texts := []string{}
			for range 2 {
				var cmd *exec.Cmd
				if len(texts) == 0 {
					u.run(t, nil, "/bin/true") // or skips
					cmd = u.runner(prefix, command...)
				} else {
					cmd = exec.Command(prefix[0], append(prefix[1:], command...)...)
					cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = "/", u.attr, []*os.File{self}
				}
				out.Truncate(0)
				out.Seek(0, 0)
				cmd.Stdout, cmd.Stderr = out, os.Stderr
				if err := cmd.Run(); err != nil {
					t.Error(err)
				}
				b, err := os.ReadFile(out.Name())
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, string(b))
			}
			if texts[0] != texts[1] || !strings.Contains(texts[0], "\n7 "+out.Name()) {
				t.Errorf("in a namespace\n%s\ndirectly\n%s", texts[0], texts[1])
			}
		})
	}
}

// A reader of the command's output sees the end when the command has closed it, though the
// runner and the process that makes sockets go on.
func TestReleaseFiles(t *testing.T) {
	cmd := users()[0].runner(nil, "/bin/sh", "-c", `exec 4>&- >&- 2>&-; read line`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.ExtraFiles = w, append(cmd.ExtraFiles, w)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	b := make([]byte, 200)
	n, _ := r.Read(b) // returns at the end
	in.Close()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == notAllowed {
		t.Skipf("%s", b[:n])
	}
	if n != 0 {
		t.Errorf("got %q", b[:n])
	}
}

func TestNotExecutable(t *testing.T) {
	for path, want := range map[string]error{"/nothing": fs.ErrNotExist, "/etc/passwd": fs.ErrPermission} {
		n := newNamespace(t)
		_, err := n.Start(path, []string{path})
		if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), "cannot execute "+path+": ") {
			t.Errorf("%s: %v", path, err)
		}
		n.Close()
		wantNothingLeft(t)
	}
}

func TestLongArguments(t *testing.T) {
	n := newNamespace(t)
	args := []string{"sh", "-c", `test $# = 10000`, "sh"}
	for range 10000 {
		args = append(args, strings.Repeat("x", 100))
	}
	process, err := n.Start("/bin/sh", args)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := process.Wait(); err != nil || !state.Success() {
		t.Error(state, err)
	}
}

func TestScriptWithoutFormat(t *testing.T) {
	path := t.TempDir() + "/script"
	if err := os.WriteFile(path, []byte("exit $1"), 0o755); err != nil {
		t.Fatal(err)
	}
	n := newNamespace(t)
	process, err := n.Start(path, []string{"script", "42"})
	if err != nil {
		t.Fatal(err)
	}
	if state, err := process.Wait(); err != nil || state.ExitCode() != 42 {
		t.Error(state, err)
	}
}

func TestHolderKilled(t *testing.T) {
	n := newNamespace(t)
	n.holder.Kill()
	process, err := n.Start("/bin/true", []string{"true"})
	if err == nil { // as if it had been the command
		if state, err := process.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
			t.Error(state, err)
		}
	}
	n.Close()
	wantNothingLeft(t)
}

func TestNeverStarted(t *testing.T) {
	n := newNamespace(t)
	n.Close()
	wantNothingLeft(t)
	if _, err := n.Start("/bin/true", []string{"true"}); err == nil {
		t.Error("a closed namespace has started a command")
	}
}

func TestManyTimes(t *testing.T) {
	newNamespace(t).Close()
	before := len(must(os.ReadDir("/proc/self/fd")))
	for i := range 200 {
		n, err := New(Options{Dial: i%2 == 0})
		if err != nil {
			t.Fatal(i, err)
		}
		process, err := n.Start("/bin/true", []string{"true"})
		if err != nil {
			t.Fatal(i, err)
		}
		if state, err := process.Wait(); err != nil || !state.Success() {
			t.Fatal(i, state, err)
		}
		n.Close()
	}
	if after := len(must(os.ReadDir("/proc/self/fd"))); after != before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
	wantNothingLeft(t)
}

// wantNothingLeft fails the test if this process has children.
func wantNothingLeft(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a process is left: %d, %v", pid, err)
	}
}

// Whenever the process outside is killed, nothing else is left than the command, which is cut
// off. All processes have the test's pipe open.
func TestRunnerKilled(t *testing.T) {
	for _, command := range [][]string{{"/bin/cat"}, {"/bin/sh", "-c", "read line; exit"}} {
		for _, u := range users() {
			cmd := u.runner(nil, command...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmd.Process.Kill()
			in.Close()
			b := make([]byte, 200)
			for n := 1; n > 0; { // until the end
				n, _ = out.Read(b)
			}
			cmd.Wait()
		}
	}
}
