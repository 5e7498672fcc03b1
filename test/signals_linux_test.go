package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// SIGHUP requests a reload from almost the first moment of the process: before slow packages are initialised. (The time
// from exec until Go's runtime and its few packages have started is not covered.)
func TestHangupAtTheStart(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT} {
		cmd := exec.Command(binaries.proxy, "--listen", "127.0.0.1:0")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1", "GORACE=atexit_sleep_ms=0")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		sent, reloaded := false, false
		for in := bufio.NewScanner(stderr); in.Scan(); {
			line := in.Text()
			switch {
			case strings.HasPrefix(line, "init net @"), strings.HasPrefix(line, "init bip324proxy/proxy @"), strings.HasPrefix(line, "init reflect @"):
				if !sent {
					t.Errorf("signals are not caught yet: %s", line)
				}
			case strings.HasPrefix(line, "init bip324proxy/internal/signals @"):
				sent = true
				cmd.Process.Signal(signal)
			case strings.Contains(line, `msg="configuration reloaded"`):
				reloaded = true
				cmd.Process.Signal(syscall.SIGTERM)
			}
		}
		cmd.Wait()
		timer.Stop()
		if !cmd.ProcessState.Success() || !sent || reloaded != (signal == syscall.SIGHUP) {
			t.Errorf("%v: got %v, reloaded: %v", signal, cmd.ProcessState, reloaded)
		}
	}
}

// The exit code is 0 however many signals arrive until the exit.
func TestSignalsAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		for range 10 {
			p := startProxy(t, "--grace", "0", "--known-peers", filepath.Join(t.TempDir(), "peers"))
			p.cmd.Process.Signal(syscall.SIGTERM)
			for ended := false; !ended; {
				select {
				case <-p.done:
					ended = true
				case <-time.After(200 * time.Microsecond):
					p.cmd.Process.Signal(signal)
				}
			}
			if !p.cmd.ProcessState.Success() {
				t.Errorf("%v: got %v, want exit code 0", signal, p.cmd.ProcessState)
			}
		}
	}
}

// With the default grace period and an active session, the proxy exits within 8 s, because Docker allows 10 s, even if
// the disk takes two seconds for each save.
func TestStopsInTime(t *testing.T) {
	t.Parallel()
	const limit, slack = 8 * time.Second, time.Second // for a loaded host
	for name, slow := range map[string]bool{"": false, "slow disk": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peersFile := filepath.Join(t.TempDir(), "peers")
			p := startProxy(t, "--known-peers", peersFile)
			peer := startV2Peer(t)
			nc, code, err := upgradeThrough(p.addr, peer)
			if err != nil || code != 0 {
				t.Fatalf("reply %d, %v", code, err)
			}
			defer nc.Close()
			if slow {
				slowDown(t, p, 2*time.Second)
			}
			began := time.Now()
			p.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-p.done:
			case <-time.After(patience):
				t.Fatal("the proxy is still running")
			}
			if took := time.Since(began); took > limit+slack {
				t.Errorf("it took %v, want at most %v", took, limit)
			} else {
				t.Logf("it took %v", took)
			}
			if !p.cmd.ProcessState.Success() {
				t.Errorf("got %v, want exit code 0", p.cmd.ProcessState)
			}
			if b, _ := os.ReadFile(peersFile); !strings.Contains(string(b), peer+" v2 ") {
				t.Errorf("got known peers %q, want %s in them", b, peer)
			}
		})
	}
}

// slowDown delays each fsync of the proxy, until letGo is called.
func slowDown(t *testing.T, p *proxy, fsync time.Duration) (letGo func()) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		notRun(t, "strace is missing; apt-get install strace")
	}
	said := newLines()
	cmd := exec.Command(strace, "-f", "-p", strconv.Itoa(p.cmd.Process.Pid), "-e", "trace=fsync", "-e", fmt.Sprintf("inject=fsync:delay_enter=%d", fsync.Microseconds()))
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	letGo = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(letGo)
	for end := time.After(patience); len(said.all()) == 0; {
		select {
		case <-said.more():
		case <-end:
			t.Fatal("strace printed nothing")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if !strings.Contains(said.all()[0], "attached") {
		notRun(t, "%s", said.all()[0])
	}
	return letGo
}

// systemd is notified when the service is ready, which is when it listens and handles SIGHUP, and when it stops.
func TestNotify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{filepath.Join(dir, "notify"), "@" + filepath.Join(dir, "abstract")} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.SetDeadline(time.Now().Add(patience))
		told := func() string {
			b := make([]byte, 1000)
			n, err := l.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			return string(b[:n])
		}
		addr := freeAddr(t)
		p := &proxy{program: &program{name: "bip324-proxy", out: newLines(), done: make(chan struct{})}}
		p.cmd = exec.Command(binaries.proxy, "--log-format", "json", "--listen", addr)
		p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+name)
		p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(p.done)
			p.cmd.Wait()
		}()
		t.Cleanup(p.kill)
		if got := told(); got != "READY=1" {
			t.Errorf("unexpected notification %q", got)
		}
		p.cmd.Process.Signal(syscall.SIGHUP)
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
		} else {
			nc.Close()
		}
		p.await(t, "a reload", func(e event) bool { return e.Msg == "configuration reloaded" })
		p.cmd.Process.Signal(syscall.SIGTERM)
		if got := told(); got != "STOPPING=1" {
			t.Errorf("unexpected notification %q", got)
		}
		<-p.done
		if !p.cmd.ProcessState.Success() {
			t.Errorf("got %v, want exit code 0", p.cmd.ProcessState)
		}
	}
}

// A notification socket that nobody reads, or that does not exist, blocks nothing.
func TestNotifyNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	full, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "full"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	nc, err := net.Dial("unixgram", full.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for err == nil {
		nc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = nc.Write([]byte("READY=1"))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	for name, warns := range map[string]bool{full.LocalAddr().String(): true, filepath.Join(dir, "none"): true, "relative": false, "vsock:2:1": false, "": false} {
		addr := freeAddr(t)
		cmd := exec.Command(binaries.proxy, "--listen", addr)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+name)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		eventually(t, "the proxy listens", func() bool {
			nc, err := net.Dial("tcp", addr)
			if err == nil {
				nc.Close()
			}
			return err == nil
		})
		cmd.Process.Signal(syscall.SIGTERM)
		text, _ := io.ReadAll(stderr)
		cmd.Wait()
		timer.Stop()
		if !cmd.ProcessState.Success() || strings.Contains(string(text), "could not notify systemd") != warns {
			t.Errorf("%q: got %v, want a warning: %v\n%s", name, cmd.ProcessState, warns, text)
		}
	}
}

// The second signal ends the proxy even if the disk hangs. The failure to save the known peers is reported as an error.
func TestSecondSignalWhateverTheDisk(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(binaries.proxy, "--listen", "127.0.0.1:0", "--grace", "1h", "--known-peers", filepath.Join(t.TempDir(), "peers"), "--log-format", "json")
	p := &proxy{program: &program{name: "bip324-proxy", cmd: cmd, out: newLines(), done: make(chan struct{})}}
	cmd.Stderr = p.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		cmd.Wait()
	}()
	t.Cleanup(p.kill)
	p.addr = p.await(t, "listening", func(e event) bool { return e.Msg == "listening" }).Addr
	letGo := slowDown(t, p, patience)
	nc, code, err := upgradeThrough(p.addr, startV2Peer(t))
	if err != nil || code != 0 {
		t.Fatalf("reply %d, %v", code, err)
	}
	defer nc.Close()
	began := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.await(t, "the proxy stops", func(e event) bool { return strings.HasPrefix(e.Msg, "shutting down") }) // or two signals could merge
	p.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "the proxy ends", func() bool { // except the thread that strace holds
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		return !slices.ContainsFunc(threads, func(path string) bool {
			stat, err := os.ReadFile(path)
			return err == nil && !strings.Contains(string(stat), ") Z ") && !strings.Contains(string(stat), ") t ")
		})
	})
	took := time.Since(began)
	letGo()
	<-p.done
	all := p.out.all()
	if last := all[len(all)-1]; p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(last, "known peers could not be saved in time") {
		t.Errorf("got %v after %v, want exit code 1 and an error: %q", p.cmd.ProcessState, took, all)
	} else if took > patience/3 {
		t.Errorf("it took %v, want at most %v", took, patience/3)
	}
}
