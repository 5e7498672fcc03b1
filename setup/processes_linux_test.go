package setup

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The kernel's tables have the sockets of this process, both ends of a connection over either family.
func TestSockets(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("not run: %v", err) // no such family
			continue
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all := sockets()
		if _, port, _ := net.SplitHostPort(l.Addr().String()); !isOpen(all, port) {
			t.Errorf("%v is not listening in %v", l.Addr(), all)
		}
		if !slices.ContainsFunc(all, func(s socket) bool {
			return s.local.String() == c.LocalAddr().String() && s.remote.String() == l.Addr().String() && !s.listening && s.inode > 0
		}) {
			t.Errorf("%v is not in %v", c.LocalAddr(), all)
		}
	}
}

func TestStartTime(t *testing.T) {
	started := startTime("/proc/" + strconv.Itoa(os.Getpid()))
	if age := time.Since(started); age < -time.Second || age > 24*time.Hour {
		t.Errorf("this process started %v ago", age)
	}
	if !startTime("/proc/none").IsZero() {
		t.Error("no process started")
	}
}

// A program's home is that of its environment, or the user's if it is written in Go.
func TestHomes(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("not run: sleep is missing")
	}
	home := t.TempDir()
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	for name, want := range map[string]string{"bitcoind": home, "btcd": me.HomeDir} {
		cmd := &exec.Cmd{Path: sleep, Args: []string{name, "60"}, Env: []string{"SECRET=1", "XHOME=/no", "HOME=" + home}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		awaitProcess(t, cmd.Process.Pid, func(p *process) bool { return p.home == want })
	}
}

// awaitProcess returns the process with that number once it is listed as wanted.
func awaitProcess(t *testing.T, pid int, wanted func(*process) bool) *process {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		all, err := processes()
		i := slices.IndexFunc(all, func(p *process) bool { return p.pid == pid })
		if i >= 0 && wanted(all[i]) {
			return all[i]
		}
		if time.Now().After(end) {
			t.Fatalf("process %d is not as wanted: %v, %v", pid, all, err)
		}
	}
}

// The loopback interface of a program in another network namespace is not this one's.
func TestNetworkNamespace(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("not run: sleep is missing")
	}
	for flags, want := range map[uintptr]string{0: "", syscall.CLONE_NEWNET: "another network namespace"} {
		cmd := &exec.Cmd{Path: sleep, Args: []string{"bitcoind", "60"}, SysProcAttr: &syscall.SysProcAttr{Cloneflags: flags}}
		if err := cmd.Start(); err != nil {
			t.Skipf("not run: %v", err) // only root may
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		p := awaitProcess(t, cmd.Process.Pid, func(*process) bool { return true })
		if p.apart != want || p.hidden {
			t.Fatalf("got %+v, want it in %q", p, want)
		}
		if part := (&machine{proxy: Proxy{Listen: []string{address}}}).plan(p); want != "" && (len(part.Add) > 0 || !strings.Contains(part.What, "runs in another network namespace, whose 127.0.0.1 is not this machine's")) {
			t.Errorf("got %+v", part)
		}
	}
}
