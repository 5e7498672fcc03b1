//go:build unix

package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/signals"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// TestMain lets the test binary be the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_BIP324_PROXY_MAIN") != "" {
		os.Exit(Run(os.Args, os.Stdout, os.Stderr))
	}
	signals.Release()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // or programs that tests start under nohup(1) would ignore SIGHUP
	os.Exit(m.Run())
}

// program is a running program; lines receives its log.
type program struct {
	cmd   *exec.Cmd
	lines chan map[string]any
	text  strings.Builder // complete when lines is closed
}

// startProgram runs the program with debug logging until the test ends.
func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	return launch(t, append([]string{"--log-format", "json", "--log-level", "debug"}, args...)...)
}

// launch runs the program until the test ends.
func launch(t *testing.T, args ...string) *program {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_BIP324_PROXY_MAIN=1")
	return launchCommand(t, cmd)
}

// launchCommand runs a command that runs the program, until the test ends.
func launchCommand(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{cmd: cmd, lines: make(chan map[string]any, 1000)}
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			fmt.Fprintln(&p.text, in.Text())
			var line map[string]any
			if err := json.Unmarshal(in.Bytes(), &line); err != nil {
				line = map[string]any{"msg": in.Text()}
			}
			p.lines <- line
		}
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	return p
}

// next returns the next line of the log, which must have that message.
func (p *program) next(t *testing.T, msg string) map[string]any {
	t.Helper()
	return p.nextOf(t, msg)
}

// nextOf is next for one of several messages.
func (p *program) nextOf(t *testing.T, messages ...string) map[string]any {
	t.Helper()
	select {
	case line := <-p.lines:
		if msg, _ := line["msg"].(string); !slices.Contains(messages, msg) {
			t.Fatalf("the log says %v, want one of %q", line, messages)
		}
		return line
	case <-time.After(10 * time.Second):
		t.Fatalf("no line with one of %q", messages)
		return nil
	}
}

// stop terminates the program as a service manager does, and returns its log.
func (p *program) stop(t *testing.T) string {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.ended(); err != nil {
		t.Errorf("%v\n%s", err, &p.text)
	}
	return p.text.String()
}

// ended waits until the program has exited; text has its whole output then.
func (p *program) ended() error {
	for range p.lines {
	}
	return p.cmd.Wait()
}

// exchange connects to addr, sends says and returns the first n bytes received.
func exchange(t *testing.T, network, addr, says string, n int) string {
	t.Helper()
	nc, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(nc, says)
	b := make([]byte, n)
	if _, err := io.ReadFull(nc, b); err != nil {
		t.Errorf("%s: got %v", addr, err)
	}
	return string(b)
}

// v2Node starts a peer that accepts one v2 session and sends one message.
func v2Node(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c, err := transport.Server(t.Context(), nc, transport.Config{Magic: demoMagic})
		if err != nil {
			return
		}
		c.WritePacket([]byte("\x00verack\x00\x00\x00\x00\x00\x00"))
		io.Copy(io.Discard, nc)
	}()
	return l.Addr().String()
}

// All listeners are opened, logged and served.
func TestListeners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	node := v2Node(t)
	file := filepath.Join(t.TempDir(), "peers")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", "unix:"+path,
		"--peer", "127.0.0.1:0="+node, "--known-peers", file)
	var addrs []string
	for i := range 4 {
		line := p.next(t, "listening")
		if _, ok := line["upstream"]; ok || line["v1_fallback"] != "never" || line["passthrough"] != "allow" {
			t.Errorf("the log says %v", line)
		}
		if peer := line["peer"]; (i == 3) != (peer == node) {
			t.Errorf("listener %d: peer %v", i, peer)
		}
		addrs = append(addrs, line["addr"].(string))
	}
	for i, network := range []string{"tcp", "tcp", "unix"} {
		if got := exchange(t, network, addrs[i], "\x05\x01\x00", 2); got != "\x05\x00" {
			t.Errorf("%s: answer % x", addrs[i], got)
		}
	}
	const verack = "\xf9\xbe\xb4\xd9verack\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5d\xf6\xe0\xe2"
	version := "\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5d\xf6\xe0\xe2" // without fields: enough for the proxy
	if got := exchange(t, "tcp", addrs[3], version, len(verack)); got != verack {
		t.Errorf("the static peer: answer % x", got)
	}
	text := p.stop(t)
	if !strings.Contains(text, `"transport":"v2"`) {
		t.Errorf("want a v2 session in the log:\n%s", text)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file still exists: %v", err)
	}
	peers, err := fallback.OpenPeers(file)
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	if speaks := peers.Lookup(node); speaks != fallback.SpeaksV2 {
		t.Errorf("got %v for %s in the known peers", speaks, node)
	}
}

// The log names the upstream proxy without its password.
func TestUpstreamInLog(t *testing.T) {
	p := startProgram(t, "--listen", "127.0.0.1:0", "--upstream", "socks5://up-user:up-secret@127.0.0.1:1")
	line := p.next(t, "listening")
	if line["upstream"] != "127.0.0.1:1" {
		t.Errorf("the log says %v", line)
	}
	dest := "node.invalid"
	request := "\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(dest))) + dest + "\x20\x8d"
	if got, want := exchange(t, "tcp", line["addr"].(string), request, 12), "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"; got != want {
		t.Errorf("answer % x, want % x", got, want)
	}
	text := p.stop(t)
	if strings.Contains(text, "up-secret") || strings.Contains(text, "up-user") || !strings.Contains(text, "cannot reach the upstream proxy at 127.0.0.1:1") {
		t.Errorf("the log says\n%s", text)
	}
}

// A public listener is allowed with a password.
func TestListenWithAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth")
	for _, content := range []string{"user:pass:word\n", "user:pass:word\r\nnever read\n", "user:pass:word"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, auth := range [][]string{{"--auth", "user:pass:word"}, {"--auth-file", file}} {
			p := startProgram(t, slices.Concat([]string{"--listen", "0.0.0.0:0"}, auth)...)
			_, port, err := net.SplitHostPort(p.next(t, "listening")["addr"].(string))
			if err != nil {
				t.Fatal(err)
			}
			addr := net.JoinHostPort("127.0.0.1", port)
			for says, want := range map[string]string{
				"\x05\x01\x00":                          "\x05\xff",
				"\x05\x01\x02\x01\x04user\x09pass:wor!": "\x05\x02\x01\x01",
				"\x05\x01\x02\x01\x04user\x09pass:word": "\x05\x02\x01\x00",
			} {
				if got := exchange(t, "tcp", addr, says, len(want)); got != want {
					t.Errorf("%v: sent % x, got % x, want % x", auth, says, got, want)
				}
			}
			if text := p.stop(t); strings.Contains(text, "pass:wor") {
				t.Errorf("the password is in the log:\n%s", text)
			}
		}
	}
}

func TestWrongAuthFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth")
	for _, content := range []string{"", "\nuser:password\n", "no colon\n", ":password\n", "user:" + strings.Repeat("p", 256)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		if code := Run([]string{"bip324-proxy", "--auth-file", file}, io.Discard, &stderr); code != 2 {
			t.Errorf("%.20q: exit code %d, want 2", content, code)
		}
		checkOneLine(t, "an auth file", stderr.String(), "write USER:PASSWORD")
	}
}

// A socket from systemd is checked like one that the program opens, and IPv6's wildcard address
// like that of IPv4.
func TestActivatedPublic(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("%s: not run: %v", addr, err)
			continue
		}
		socket, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" --grace 0`, os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_BIP324_PROXY_MAIN=1")
		cmd.ExtraFiles = []*os.File{socket}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		cmd.Run()
		socket.Close()
		if cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%s: %v, want exit code 2", addr, cmd.ProcessState)
		}
		checkOneLine(t, addr, stderr.String(), "add --auth USER:PASSWORD")
	}
}
