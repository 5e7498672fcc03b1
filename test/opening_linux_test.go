package test

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startWaiting runs a proxy whose listen addresses do not exist yet, until it waits for one.
func startWaiting(t *testing.T, notify string, args ...string) *proxy {
	t.Helper()
	p := &proxy{program: &program{name: "bip324-proxy", out: newLines(), done: make(chan struct{})}}
	p.cmd = exec.Command(binaries.proxy, append([]string{"--log-format", "json", "--auth", "user:password", "--grace", "0"}, args...)...)
	p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify, "GORACE=atexit_sleep_ms=0")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	p.await(t, "the proxy waits", func(e event) bool { return strings.Contains(e.Msg, "does not have yet") })
	return p
}

// At boot the proxy may start before an address exists: it waits for the address, reports that once, and is ready only
// when it listens. The status page answers meanwhile.
func TestAddressComesLater(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	for name, c := range map[string]struct {
		args    []string
		address string // the address that is added
		listens int
	}{
		"listen": {[]string{"--listen", "192.0.2.1:1324", "--listen", "127.0.0.1:1324", "--status", "127.0.0.1:1325"}, "192.0.2.1/32", 2},
		"IPv6":   {[]string{"--listen", "[2001:db8::1]:1324", "--status", "127.0.0.1:1325"}, "2001:db8::1/128", 1},
		"peer":   {[]string{"--listen", "127.0.0.1:1324", "--peer", "127.0.0.1:1326=192.0.2.9:8333", "--listen", "192.0.2.2:1324", "--status", "127.0.0.1:1325"}, "192.0.2.2/32", 3},
		"status": {[]string{"--listen", "127.0.0.1:1324", "--status", "192.0.2.3:1325", "--status-token", "0123456789abcdef"}, "192.0.2.3/32", 1},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "notify")
			l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p := startWaiting(t, socket, c.args...)
			if name != "status" {
				eventually(t, "the page reports not listening", func() bool { return askHealth("127.0.0.1:1325") == "not listening\n" })
			}
			l.SetReadDeadline(time.Now().Add(time.Second))
			b := make([]byte, 100)
			if n, err := l.Read(b); err == nil {
				t.Errorf("systemd was notified %q too early", b[:n])
			}
			command(t, "ip", "address", "add", c.address, "dev", "lo")
			l.SetReadDeadline(time.Now().Add(patience))
			n, err := l.Read(b)
			if err != nil || string(b[:n]) != "READY=1" {
				t.Errorf("systemd was notified %q, %v", b[:n], err)
			}
			host, _, _ := strings.Cut(c.address, "/")
			page := "127.0.0.1:1325"
			if name == "status" {
				page = host + ":1325"
			}
			eventually(t, "the proxy is ready", func() bool { return askHealth(page) == "ok\n" })
			eventually(t, "the log reports every listener", func() bool { return p.out.count(`"msg":"listening"`) == c.listens })
			if waits := p.out.count("does not have yet"); waits != 1 {
				t.Errorf("got %d log lines about waiting, want 1", waits)
			}
			p.cmd.Process.Signal(syscall.SIGTERM)
			<-p.done
		})
	}
}

// askHealth returns the answer of /readyz, or "".
func askHealth(addr string) string {
	client := http.Client{Timeout: patience / 3}
	r, err := client.Get("http://" + addr + "/readyz")
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// A signal ends the wait for an address at once, with exit code 0.
func TestSignalWhileWaiting(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, args := range [][]string{
			{"--listen", "192.0.2.1:1324"},
			{"--status", "192.0.2.1:1325", "--status-token", "0123456789abcdef"},
			{"--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0=192.0.2.9:8333", "--listen", "192.0.2.1:1324", "--known-peers", filepath.Join(t.TempDir(), "peers")},
		} {
			p := startWaiting(t, "", args...)
			within(t, 10*time.Second, "the exit", func() {
				p.cmd.Process.Signal(syscall.SIGHUP) // handled after the wait
				p.cmd.Process.Signal(signal)
				<-p.done
			})
			if !p.cmd.ProcessState.Success() {
				t.Errorf("%v, %q: got %v", signal, args, p.cmd.ProcessState)
			}
		}
	}
}
