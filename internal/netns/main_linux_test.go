package netns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/inherited"
	"bip324proxy/internal/transparent"
)

// The test program is also the holder; a runner, which does what the command run does; and the
// guests, commands for a namespace.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case HolderCommand:
			Hold()
			os.Exit(1)
		case "runner":
			os.Exit(runner(os.Args[2:]))
		case "guest":
			guests[os.Args[2]]()
			os.Exit(0)
		}
	}
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT) // or what tests start would ignore them under nohup(1)
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")    // with -race, hundreds of processes would end a second late
	os.Exit(m.Run())
}

// guest runs as a command of the tests.
func guest(name string) []string { return []string{"/proc/self/exe", "guest", name} }

var guests = map[string]func(){}

const notAllowed = 77 // the runner's exit code where namespaces are forbidden

// runner runs a command in a namespace, and tells those who connect where they meant to go.
func runner(args []string) int {
	n, err := New(Options{Dial: true})
	if err != nil {
		fmt.Println(err)
		return notAllowed
	}
	defer n.Close()
	serve(n)
	process, err := n.Start(args[0], args)
	if err != nil {
		fmt.Println(err)
		return 126
	}
	if unix.Getpgrp() != must(unix.Getpgid(process.Pid)) {
		fmt.Println("the command is in another process group")
	}
	if err := inherited.Release(); err != nil {
		return 1
	}
	return must(process.Wait()).ExitCode()
}

// serve answers what comes from the namespace.
func serve(n *Namespace) {
	for _, l := range n.Redirected {
		go answer(l, func(c net.Conn) string {
			dest, err := transparent.Destination(c)
			return fmt.Sprint(dest, err)
		})
	}
	for _, c := range n.DNS {
		go func() {
			b := make([]byte, 512)
			for {
				_, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				c.WriteTo([]byte("DNS packet"), from)
			}
		}()
	}
}

// answer sends each client a line and waits for its end.
func answer(l net.Listener, line func(net.Conn) string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.WriteString(c, line(c)+"\n")
			io.Copy(io.Discard, c)
		}()
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// user is who runs a test: the one who runs all, and an ordinary one, which root can become.
type user struct {
	name string
	attr *syscall.SysProcAttr
}

func users() []user {
	all := []user{{"self", nil}}
	nobody := user{"nobody", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}}
	probe := exec.Command("/bin/true")
	probe.SysProcAttr = nobody.attr
	if probe.Run() == nil {
		all = append(all, nobody)
	}
	return all
}

// self is this program, which an ordinary user may be unable to find.
var self = must(os.Open("/proc/self/exe"))

// run runs a runner with a command, through prefix if there is one, and returns the output.
func (u user) run(t *testing.T, prefix []string, command ...string) string {
	t.Helper()
	cmd := u.runner(prefix, command...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == notAllowed {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func (u user) runner(prefix []string, command ...string) *exec.Cmd {
	args := append(append(prefix, "/proc/self/fd/3", "runner"), command...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = "/", u.attr, []*os.File{self}
	return cmd
}

// newNamespace returns a namespace of this process.
func newNamespace(t *testing.T) *Namespace {
	t.Helper()
	n, err := New(Options{Dial: true})
	if e := (*Error)(nil); errors.As(err, &e) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// startGuest starts a guest in this process's namespace, and returns once it connects to an
// address elsewhere, as a sign that it is ready.
func startGuest(t *testing.T, n *Namespace, name string) {
	t.Helper()
	args := guest(name)
	process, err := n.Start(args[0], args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Kill()
		process.Wait()
	})
	c, err := n.Redirected[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// ready is the sign.
func ready() { must(net.Dial("tcp", "192.0.2.1:8333")).Close() }
