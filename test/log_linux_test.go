package test

import (
	"bufio"
	"bytes"
	"encoding/json"
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

// loudProxy is a proxy with a status page whose log goes where a test chooses.
type loudProxy struct {
	cmd        *exec.Cmd
	addr, page string
	ended      chan struct{}
}

// startLoud runs a proxy with stderr as its log.
func startLoud(t *testing.T, stderr *os.File, flags ...string) *loudProxy {
	t.Helper()
	p := &loudProxy{addr: freeAddr(t), page: freeAddr(t), ended: make(chan struct{})}
	p.cmd = exec.Command(binaries.proxy, append([]string{"--listen", p.addr, "--status", p.page, "--log-format", "json"}, flags...)...)
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	p.cmd.Stderr = stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	eventually(t, "the proxy listens", func() bool { return p.get("/readyz") == "ok\n" })
	return p
}

// get returns the answer of the status page, or "".
func (p *loudProxy) get(path string) string {
	client := http.Client{Timeout: patience / 3}
	r, err := client.Get("http://" + p.page + path)
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// requireSessions checks that nc still is a session, and that new ones open.
func (p *loudProxy) requireSessions(t *testing.T, nc net.Conn, peer string) {
	t.Helper()
	nc.SetDeadline(time.Now().Add(patience))
	if err := exchange(nc, pingBytes, nil); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, pongSize)); err != nil {
		t.Errorf("a session ended: %v", err)
	}
	for range 5 {
		other, code, err := upgradeThrough(p.addr, peer)
		if err != nil || code != 0 {
			t.Fatalf("opening a new session: reply %d, %v", code, err)
		}
		other.Close()
	}
	if ready := p.get("/readyz"); ready != "ok\n" {
		t.Errorf("unexpected /readyz %q", ready)
	}
	if status := p.get("/api/status"); !strings.Contains(status, `"live"`) {
		t.Errorf("unexpected /api/status %q", status)
	}
}

// requireEnd checks that the proxy exits with code 0.
func (p *loudProxy) requireEnd(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case <-p.ended:
		if !p.cmd.ProcessState.Success() {
			t.Errorf("the proxy ended with %v, want exit code 0", p.cmd.ProcessState)
		}
	case <-time.After(within):
		t.Fatalf("the proxy is still running after %v", within)
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// smallPipe returns a pipe that holds a few lines and has no reader.
func smallPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w = pipe(t)
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, w.Fd(), setPipeSize, 4096); errno != 0 {
		notRun(t, "%v", errno)
	}
	return r, w
}

// fill fills a pipe to its last byte.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	syscall.SetNonblock(fd, true)
	for size := 4096; size > 0; {
		if _, err := syscall.Write(fd, make([]byte, size)); err != nil {
			size /= 2
		}
	}
	syscall.SetNonblock(fd, false)
}

// The exit of the log's reader ends neither the proxy nor a session.
func TestLogReaderLeaves(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	p := startLoud(t, w, "--grace", "0")
	w.Close()
	peer := startV2Peer(t)
	nc, _, err := upgradeThrough(p.addr, peer)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	r.Close()
	p.requireSessions(t, nc, peer)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.requireSessions(t, nc, peer)
	if !strings.Contains(p.get("/metrics"), "\nbip324_proxy_log_lines_lost_total ") || strings.Contains(p.get("/metrics"), "\nbip324_proxy_log_lines_lost_total 0\n") {
		t.Error("the metrics do not count lost lines")
	}
	p.cmd.Process.Signal(syscall.SIGPIPE) // as from a write to another pipe
	p.requireSessions(t, nc, peer)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.requireEnd(t, patience)
}

// When the reader returns, lines flow again; the first says how many were lost.
func TestLogReaderComesBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() *os.File { // does not block
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), path)
	}
	first := open()
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := startLoud(t, w, "--grace", "0")
	peer := startV2Peer(t)
	nc, _, err := upgradeThrough(p.addr, peer)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	first.Close()
	p.requireSessions(t, nc, peer)
	eventually(t, "lines are lost", func() bool {
		return !strings.Contains(p.get("/metrics"), "\nbip324_proxy_log_lines_lost_total 0\n")
	})
	second := open()
	defer second.Close()
	w.Close()
	p.requireSessions(t, nc, peer)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.requireEnd(t, patience)
	second.SetDeadline(time.Now().Add(patience))
	var seen []string // since the reader returned
	lost := 0
	for in := bufio.NewScanner(second); in.Scan(); {
		var line struct {
			Msg string
			N   int
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			t.Errorf("%q: %v", in.Text(), err)
		}
		if line.Msg == "lines lost" {
			seen = nil
			lost += line.N
		}
		seen = append(seen, line.Msg)
	}
	if lost == 0 || len(seen) < 3 || seen[0] != "lines lost" || seen[1] != "session opened" || seen[len(seen)-1] != "session closed" {
		t.Errorf("got log lines %q, with %d lost lines", seen, lost)
	}
}

// A log that nobody reads blocks neither sessions nor the status page nor the shutdown. When a reader comes after all,
// the lines are there.
func TestLogNobodyReads(t *testing.T) {
	t.Parallel()
	r, w := smallPipe(t)
	p := startLoud(t, w, "--max-sessions", "20", "--grace", "1h")
	w.Close()
	peer := startV2Peer(t)
	refused := freeAddr(t)
	for range 80 { // one line each, more than the pipe holds
		nc, code, err := connectThrough(p.addr, "127.0.0.1:1")
		if err == nil && code == 0 {
			t.Fatal("an unused port accepted a connection")
		}
		if nc != nil {
			nc.Close()
		}
		if nc, _, _ := connectThrough(p.addr, refused); nc != nil {
			nc.Close()
		}
	}
	nc, code, err := upgradeThrough(p.addr, peer)
	if err != nil || code != 0 {
		t.Fatalf("reply %d, %v", code, err)
	}
	defer nc.Close()
	p.requireSessions(t, nc, peer)
	var idle []net.Conn
	for range 40 { // over the limit
		other, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		idle = append(idle, other)
	}
	if ready := p.get("/readyz"); ready != "ok\n" {
		t.Errorf("with too many sessions: unexpected /readyz %q", ready)
	}
	for _, other := range idle {
		other.Close()
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "the proxy stops", func() bool { return p.get("/readyz") == "stopping\n" })
	if err := exchange(nc, pingBytes, nil); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, pongSize)); err != nil {
		t.Errorf("the session does not continue: %v", err)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.requireEnd(t, patience)
	text, _ := io.ReadAll(r)
	for line := range bytes.Lines(text[:bytes.LastIndexByte(text, '\n')+1]) {
		if !json.Valid(line) {
			t.Errorf("unexpected line %q", line)
		}
	}
}

// One signal suffices without a grace period.
func TestLogNobodyReadsAtTheEnd(t *testing.T) {
	t.Parallel()
	_, w := smallPipe(t)
	p := startLoud(t, w, "--grace", "0", "--log-level", "debug")
	fill(t, w)
	peer := startV2Peer(t)
	nc, code, err := upgradeThrough(p.addr, peer)
	if err != nil || code != 0 {
		t.Fatalf("reply %d, %v", code, err)
	}
	defer nc.Close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.requireEnd(t, patience)
}

// The program exits even if its last error message cannot be written.
func TestLastWordsNobodyReads(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--listen", l.Addr().String()}, 1},
		{[]string{"--v1-fallback", "sometimes"}, 2},
		{[]string{"--no-such-flag"}, 2},
		{[]string{"check", "no address"}, 2},
	} {
		_, w := smallPipe(t)
		fill(t, w)
		cmd := exec.Command(binaries.proxy, c.args...)
		cmd.Stderr = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%q: got %v, want exit code %d", c.args, cmd.ProcessState, c.code)
		}
	}
}

// Other commands die by SIGPIPE, SIGHUP, SIGINT and SIGTERM as usual.
func TestSignalsOfOtherCommands(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	r.Close()
	cmd := exec.Command(binaries.proxy, "config")
	cmd.Stdout = w
	if err := cmd.Run(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
		t.Errorf("config with a closed pipe: got %v", cmd.ProcessState)
	}
	for _, args := range [][]string{{"config"}, {"--help"}, {"man"}, {"--log-level", "debug", "config"}} {
		for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
			_, full := smallPipe(t)
			fill(t, full)
			cmd := exec.Command(binaries.proxy, args...)
			cmd.Stdout = full
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			end := time.AfterFunc(patience, func() { cmd.Process.Kill() })
			cmd.Process.Signal(signal) // perhaps before main runs
			cmd.Wait()
			end.Stop()
			if got := cmd.ProcessState.Sys().(syscall.WaitStatus); !got.Signaled() || got.Signal() != signal {
				t.Errorf("%q after %v: got %v", args, signal, cmd.ProcessState)
			}
		}
	}
}
