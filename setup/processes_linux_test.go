package setup

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
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
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			all, err := processes()
			i := slices.IndexFunc(all, func(p *process) bool { return p.pid == cmd.Process.Pid })
			if i >= 0 && all[i].home == want {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: got %v, %v, want home %s", name, all, err, want)
			}
		}
	}
}
