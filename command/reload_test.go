//go:build unix

package command

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
)

// SIGHUP applies the file to new sessions; settings that need a restart keep their values and are
// logged.
func TestReload(t *testing.T) {
	const before = "grace = \"5s\"\nmessage-memory = 64\nlisten = [\"127.0.0.1:0\"]\nlog-format = \"json\"\nlog-level = \"debug\"\n"
	file := testkit.WriteFile(t, before)
	p := launch(t, "--config", file, "--client-rate", "50")
	addr := p.next(t, "listening")["addr"].(string)
	echo := testkit.Echo(t)
	old, code := socksTo(t, addr, echo)
	if code != 0 {
		t.Fatalf("reply %d", code)
	}
	wantEcho(t, old)

	line := p.hangUp(t, file, before+"deny = [\"127.0.0.0/8\"]\nv1-fallback = \"always\"\nclient-rate = 1\n")
	if line["level"] != "INFO" || line["msg"] != "configuration reloaded" || line["changed"] != "v1-fallback, deny" {
		t.Errorf("the log says %v", line)
	}
	if _, code := socksTo(t, addr, echo); code != 2 { // not allowed by the rules
		t.Errorf("with the new rule: reply %d, want 2", code)
	}
	wantEcho(t, old)

	line = p.hangUp(t, file, strings.Replace(before, "64", "32", 1)+"known-peers = \"peers\"\npassthrough = \"deny\"\ndeny = []\n")
	if line["msg"] != "configuration reloaded" || line["changed"] != "v1-fallback, deny, passthrough" {
		t.Errorf("the log says %v", line)
	}
	line = p.next(t, "these changes take effect after a restart")
	if line["level"] != "WARN" || line["settings"] != "known-peers, message-memory" {
		t.Errorf("the log says %v", line)
	}
	denied, code := socksTo(t, addr, echo)
	if code != 0 {
		t.Errorf("without the rule: reply %d", code)
	}
	io.WriteString(denied, "neither SOCKS nor Bitcoin")
	if n, err := denied.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a denied passthrough stays open")
	}
	wantEcho(t, old)

	if line = p.hangUp(t, file, before+"passthrough = \"allow\"\n"); line["changed"] != "passthrough" {
		t.Errorf("the log says %v", line)
	}
	if line = p.signalHangup(t); line["changed"] != "nothing" {
		t.Errorf("the log says %v", line)
	}
	p.hangUp(t, file, strings.ReplaceAll(before, "debug", "info"))
	looked, err := net.Dial("tcp", addr) // logged at level debug only
	if err != nil {
		t.Fatal(err)
	}
	looked.Close()
	old.Close()
	text := p.stop(t)
	if _, after, ok := strings.Cut(text, `"changed":"log-level"`); !ok || strings.Contains(after, `"level":"DEBUG"`) || !strings.Contains(after, "session closed") {
		t.Errorf("the log says\n%s", text)
	}
}

// Invalid or unsafe settings change nothing; the log has the file and the line.
func TestReloadOfABadFile(t *testing.T) {
	const good = "deny = [\"private\"]\n"
	file := testkit.WriteFile(t, good)
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	addr := p.next(t, "listening")["addr"].(string)
	echo := testkit.Echo(t)
	for content, says := range map[string]string{
		"deny = []\nv1-fallbak = \"always\"\n":     file + `:2: unknown setting "v1-fallbak"; did you mean v1-fallback?`,
		"deny = []\nv1-fallback = \"sometimes\"\n": file + `:2: v1-fallback: "sometimes" is invalid; must be never, overlay or always`,
		"deny = [\n\n":                                    file + ":2: invalid TOML",
		"auth-file = \"/no/such/file\"\n":                 "/no/such/file",
		"upstream = \"socks5://" + addr + "\"\n":          file + ":1: upstream: " + addr + " is this proxy's own address",
		"listen = [\"0.0.0.0:1\"]\nauth = \"no-colon\"\n": file + ":2: auth: write USER:PASSWORD",
	} {
		line := p.hangUp(t, file, content)
		if err, _ := line["err"].(string); line["level"] != "ERROR" || line["msg"] != "reload failed; keeping the current configuration" || !strings.Contains(err, says) {
			t.Errorf("%q: the log says %v", content, line)
		}
		if _, code := socksTo(t, addr, echo); code != 2 {
			t.Errorf("%q: reply %d, want 2, as before", content, code)
		}
	}
	os.Remove(file)
	if line := p.signalHangup(t); line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["err"]), file) {
		t.Errorf("without the file the log says %v", line)
	}
	if line := p.hangUp(t, file, "deny = []\n"); line["msg"] != "configuration reloaded" || line["changed"] != "deny" {
		t.Errorf("the log says %v", line)
	}
	if nc, code := socksTo(t, addr, echo); code != 0 {
		t.Errorf("reply %d", code)
	} else {
		nc.Close()
	}
	p.stop(t)
}

// If the known-peers file cannot be opened, the service runs only with --v1-fallback never, which
// does not need it. A reload to another mode fails.
func TestReloadWithoutKnownPeers(t *testing.T) {
	peers := filepath.Join(t.TempDir(), strings.Repeat("x", 250)) // the name of a temporary file would be too long
	peersLine := "known-peers = '" + peers + "'\n"
	file := testkit.WriteFile(t, peersLine)
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	if line := p.next(t, "known peers will not be saved; with --v1-fallback never, nothing depends on them"); line["level"] != "WARN" || !strings.Contains(fmt.Sprint(line["err"]), peers) {
		t.Errorf("the log says %v", line)
	}
	p.next(t, "listening")
	for _, mode := range []string{"overlay", "always"} {
		line := p.hangUp(t, file, peersLine+"v1-fallback = \""+mode+"\"\ndeny = [\"*\"]\n")
		if err := fmt.Sprint(line["err"]); line["level"] != "ERROR" || !strings.Contains(err, "v1-fallback: "+mode+" needs the file of known peers") || !strings.Contains(err, peers) {
			t.Errorf("%s: the log says %v", mode, line)
		}
	}
	if line := p.hangUp(t, file, peersLine+"deny = [\"*\"]\n"); line["msg"] != "configuration reloaded" || line["changed"] != "deny" {
		t.Errorf("the log says %v", line)
	}
	p.stop(t)
	for _, mode := range []string{"overlay", "always"} {
		var stdout, stderr bytes.Buffer
		if code := Run([]string{"bip324-proxy", "--known-peers", peers, "--v1-fallback", mode}, &stdout, &stderr); code != 1 {
			t.Errorf("%s: exit code %d, want 1", mode, code)
		}
		checkOneLine(t, mode, stderr.String(), "--known-peers: known peers cannot be kept in "+peers)
	}
}

// A reload changes passwords, but never leaves a public listener without one.
func TestReloadOfPasswords(t *testing.T) {
	passwords := filepath.Join(t.TempDir(), "passwords")
	os.WriteFile(passwords, []byte("user:first\n"), 0o600)
	withFile := fmt.Sprintf("auth-file = %q\n", passwords)
	file := testkit.WriteFile(t, withFile)
	p := startProgram(t, "--listen", "0.0.0.0:0", "--config", file)
	_, port, err := net.SplitHostPort(p.next(t, "listening")["addr"].(string))
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	takes := func(password string) {
		t.Helper()
		for _, try := range []string{"first", "second", "third"} {
			want := "\x05\x02\x01\x01"
			if try == password {
				want = "\x05\x02\x01\x00"
			}
			if got := exchange(t, "tcp", addr, fmt.Sprintf("\x05\x01\x02\x01\x04user%c%s", len(try), try), 4); got != want {
				t.Errorf("%s: answer % x, want % x", try, got, want)
			}
		}
	}
	takes("first")
	if line := p.hangUp(t, file, ""); line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["err"]), "add --auth USER:PASSWORD") {
		t.Errorf("the log says %v", line)
	}
	takes("first")
	os.WriteFile(passwords, []byte("user:second\n"), 0o600)
	if line := p.hangUp(t, file, withFile); line["changed"] != "auth-file" {
		t.Errorf("the log says %v", line)
	}
	takes("second")
	if line := p.hangUp(t, file, "auth = \"user:third\"\n"); line["changed"] != "auth, auth-file" {
		t.Errorf("the log says %v", line)
	}
	takes("third")
	os.Chmod(file, 0o644)
	if line := p.signalHangup(t); line["changed"] != "nothing" {
		t.Errorf("the log says %v", line)
	}
	if line := p.await(t, "any local user can read this file"); line["level"] != "WARN" || line["file"] != file {
		t.Errorf("the log says %v", line)
	}
	if text := p.stop(t); strings.Contains(text, "third") || strings.Contains(text, "second") {
		t.Errorf("a password is in the log:\n%s", text)
	}
}

// A reload keeps the upstream proxy if the file no longer mentions it, and can change it.
func TestReloadKeepsAnUpstream(t *testing.T) {
	dead := testkit.Nobody(t)
	file := testkit.WriteFile(t, "upstream = \"socks5://"+dead+"\"\n")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	addr := p.next(t, "listening")["addr"].(string)
	echo := testkit.Echo(t)
	for _, content := range []string{"", "deny = []\n"} {
		if line := p.hangUp(t, file, content); line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["err"]), `no longer set: upstream; set it again, or to drop this protection write upstream = ""`) {
			t.Errorf("%q: the log says %v", content, line)
		}
		if _, code := socksTo(t, addr, echo); code != 1 { // the upstream proxy is down
			t.Errorf("%q: reply %d, want 1", content, code)
		}
	}
	other := startProgram(t, "--listen", "127.0.0.1:0")
	if line := p.hangUp(t, file, "upstream = \"socks5://"+other.next(t, "listening")["addr"].(string)+"\"\n"); line["changed"] != "upstream" {
		t.Errorf("the log says %v", line)
	}
	nc, code := socksTo(t, addr, echo)
	if code != 0 {
		t.Errorf("reply %d", code)
	}
	wantEcho(t, nc)
	nc.Close()

	if line := p.hangUp(t, file, "upstream = \"\"\n"); line["changed"] != "upstream" { // explicit, so applied
		t.Errorf("the log says %v", line)
	}
	if line := p.await(t, "upstream proxy removed"); line["level"] != "WARN" {
		t.Errorf("the log says %v", line)
	}
	p.stop(t)
}

// A reload drops one of several upstream proxies only if it is written so, and tells which connections
// are direct from then on; .onion never is. It warns, as the start does, where only .onion is left.
func TestReloadDropsARoute(t *testing.T) {
	dead, echo := testkit.Nobody(t), testkit.Echo(t)
	both := fmt.Sprintf("upstream = [\"*.onion=socks5://%s\", \"127.0.0.0/8=socks5://%s\", \"*=socks5://%s\"]\n", dead, dead, dead)
	onion := fmt.Sprintf("upstream = [\"*.onion=socks5://%s\"]\n", dead)
	file := testkit.WriteFile(t, both)
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	line := p.next(t, "listening")
	if want := fmt.Sprintf("*.onion=%s, 127.0.0.0/8=%s, *=%s", dead, dead, dead); line["upstream"] != want {
		t.Errorf("the log says %v", line)
	}
	addr := line["addr"].(string)
	reaches := func(code byte) {
		t.Helper()
		nc, got := socksTo(t, addr, echo)
		if got != code {
			t.Errorf("reply %d, want %d", got, code)
		}
		nc.Close()
	}
	reaches(1)
	for _, content := range []string{"", "upstream = [\"*.onion=socks5://" + dead + "\",\n"} {
		if line := p.hangUp(t, file, content); line["level"] != "ERROR" {
			t.Errorf("%q: the log says %v", content, line)
		}
		reaches(1)
	}
	if line := p.hangUp(t, file, onion); line["changed"] != "upstream" {
		t.Errorf("the log says %v", line)
	}
	if line := p.await(t, "upstream proxy removed"); line["level"] != "WARN" || line["destinations"] != "127.0.0.0/8, *" {
		t.Errorf("the log says %v", line)
	}
	if line := p.await(t, "Bitcoin Core sends private broadcasts to clearnet"); line["level"] != "WARN" {
		t.Errorf("the log says %v", line)
	}
	reaches(0)
	if line := p.hangUp(t, file, "upstream = []\n"); line["changed"] != "upstream" {
		t.Errorf("the log says %v", line)
	}
	text := p.stop(t)
	if strings.Count(text, "upstream proxy removed") != 1 {
		t.Errorf("without .onion, which is never reached directly, the log says\n%s", text)
	}
}

// A reload that waits for a file, such as a pipe, does not block a signal that stops the program.
func TestReloadFromAPipe(t *testing.T) {
	file := testkit.WriteFile(t, "")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	p.next(t, "listening")
	os.Remove(file)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skipf("not run: %v", err)
	}
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.stop(t)
}

// With --log-addresses=false no line has the address of a client or a peer; a reload can change
// that.
func TestLogAddresses(t *testing.T) {
	file := testkit.WriteFile(t, "log-addresses = false\n")
	node := v2Node(t)
	dead := testkit.Nobody(t)
	p := startProgram(t, "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0="+node, "--peer", "127.0.0.1:0="+dead, "--config", file)
	var addrs []string
	for range 3 {
		line := p.next(t, "listening")
		addrs = append(addrs, line["addr"].(string))
		if line["peer"] != nil {
			t.Errorf("the log says %v", line)
		}
	}
	version := "\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5d\xf6\xe0\xe2"
	exchange(t, "tcp", addrs[1], version, 24)
	if nc, err := net.Dial("tcp", addrs[2]); err == nil {
		io.Copy(io.Discard, nc)
		nc.Close()
	}
	p.await(t, "session refused")
	if _, code := socksTo(t, addrs[0], dead); code != 5 {
		t.Errorf("reply %d", code)
	}
	line := p.hangUp(t, file, "log-addresses = false\ndeny = [ \"node .example\" ]\n")
	if line["err"] != file+":2: deny is invalid; run bip324-proxy config to see why" {
		t.Errorf("the log says %v", line)
	}
	if line := p.hangUp(t, file, "log-addresses = true\n"); line["changed"] != "log-addresses" {
		t.Errorf("the log says %v", line)
	}
	if _, code := socksTo(t, addrs[0], dead); code != 5 {
		t.Errorf("reply %d", code)
	}
	if line := p.await(t, "session refused"); line["dest"] != dead || line["client"] == nil {
		t.Errorf("the log says %v", line)
	}
	hidden, shown, _ := strings.Cut(p.stop(t), `"changed":"log-addresses"`)
	for _, addr := range []string{node, dead, ".example", `"client"`, `"dest"`} {
		if strings.Contains(hidden, addr) {
			t.Errorf("%s is in the log:\n%s", addr, hidden)
		}
	}
	if !strings.Contains(shown, dead) {
		t.Errorf("the log says\n%s", shown)
	}
}

// Neither does a start that waits for a file.
func TestStartFromAPipe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skipf("not run: %v", err)
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			pipe, err := os.OpenFile(file, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			if err == nil { // the program is reading
				defer pipe.Close()
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
		p.cmd.Process.Signal(signal)
		ended := make(chan struct{})
		go func() {
			for range p.lines {
			}
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatalf("%v does not stop the program", signal)
		}
		if err := p.cmd.Wait(); err != nil || p.text.Len() > 0 {
			t.Errorf("%v: got %v, %s", signal, err, &p.text)
		}
	}
}

// A pipe can be read once. If it is empty later, or at the start because its writer failed, the
// defaults do not apply.
func TestEmptyPipe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skipf("not run: %v", err)
	}
	write := func(content string) {
		pipe, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err == nil {
			_, err = io.WriteString(pipe, content)
			pipe.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	go write("")
	var stdout, stderr bytes.Buffer
	if code := Run([]string{"bip324-proxy", "--config", file, "config"}, &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d, want 1; %s", code, &stdout)
	}
	checkOneLine(t, file, stderr.String(), "is an empty pipe")

	go write("deny = [\"private\"]\n")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	p.next(t, "listening")
	go write("")
	if line := p.signalHangup(t); line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["err"]), "is an empty pipe") {
		t.Errorf("the log says %v", line)
	}
	go write("deny = [\"10.0.0.0/8\"]\n")
	if line := p.signalHangup(t); line["changed"] != "deny" {
		t.Errorf("the log says %v", line)
	}
	p.stop(t)
}
