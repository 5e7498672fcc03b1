//go:build unix

package command

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
)

// A protection stays if the file no longer mentions it, as the file may be half written. Only an
// explicit value removes it.
func TestReloadDropsNoProtection(t *testing.T) {
	passwords := filepath.Join(t.TempDir(), "passwords")
	os.WriteFile(passwords, []byte("user:secret\n"), 0o600)
	all := []struct{ set, drop, name string }{
		{"auth = \"user:secret\"", "auth = \"\"", "auth"},
		{fmt.Sprintf("auth-file = %q", passwords), "auth = \"\"", "auth-file"},
		{"clients = [\"172.30.0.0/24\"]", "clients = []", "clients"},
		{"upstream = \"socks5://127.0.0.1:9\"", "upstream = \"\"", "upstream"},
		{"deny = [\"private\"]", "deny = []", "deny"},
		{"passthrough = \"deny\"", "passthrough = \"allow\"", "passthrough"},
		{"log-addresses = false", "log-addresses = true", "log-addresses"},
		{"shape = [\"pad\"]", "shape = \"\"", "shape"},
		{"bind = [OWN]", "bind = []", "bind"},
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "bind" {
				c.set = fmt.Sprintf("bind = [%q]", testkit.OwnAddress(t))
			}
			file := testkit.WriteFile(t, c.set+"\n")
			p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
			p.next(t, "listening")
			for _, content := range []string{"", "\n", "# " + c.set + "\n", "grace = \"1s\"\n", "v1-fallback = \"never\"\n"} {
				if line := p.hangUp(t, file, content); line["level"] != "ERROR" || !strings.HasSuffix(fmt.Sprint(line["err"]), "no longer set: "+c.name+"; set it again, or to drop this protection write "+c.drop) {
					t.Errorf("%q: the log says %v", content, line)
				}
			}
			if line := p.hangUp(t, file, c.set+"\n"); line["changed"] != "nothing" {
				t.Errorf("the log says %v", line)
			}
			if line := p.hangUp(t, file, c.drop+"\n"); line["changed"] != c.name {
				t.Errorf("the log says %v", line)
			}
			if line := p.hangUp(t, file, ""); line["changed"] != "nothing" { // the client has lost nothing
				t.Errorf("the log says %v", line)
			}
			p.stop(t)
		})
	}
	file := testkit.WriteFile(t, "")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file, "--passthrough", "deny")
	p.next(t, "listening")
	sum := all[0].set + "\n" + all[4].set + "\n" + all[6].set + "\n"
	p.hangUp(t, file, sum)
	if line := p.hangUp(t, file, ""); !strings.Contains(fmt.Sprint(line["err"]), `no longer set: auth, deny, log-addresses; set it again, or to drop this protection write auth = "", deny = [], log-addresses = true`) {
		t.Errorf("the log says %v", line)
	}
	if line := p.hangUp(t, file, strings.Replace(sum, all[0].set, all[1].set, 1)); line["changed"] != "auth, auth-file" { // the two are equivalent
		t.Errorf("the log says %v", line)
	}
	os.Truncate(passwords, 0)
	if line := p.signalHangup(t); line["level"] != "ERROR" {
		t.Errorf("with an empty password file the log says %v", line)
	}
	p.stop(t)
}

// A reload that allows more plaintext is a warning, any other is not.
func TestReloadWarnsOfPlaintext(t *testing.T) {
	file := testkit.WriteFile(t, "")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	p.next(t, "listening")
	for _, c := range []struct{ fallback, cjdns, warn string }{
		{"never", "true", ""},
		{"overlay", "true", "overlay true"},
		{"overlay", "false", ""},
		{"overlay", "true", "overlay true"},
		{"always", "true", "always true"},
		{"never", "false", ""},
		{"always", "false", "always false"},
		{"overlay", "false", ""},
	} {
		p.hangUp(t, file, fmt.Sprintf("v1-fallback = %q\ncjdnsreachable = %s\n", c.fallback, c.cjdns))
		if c.warn == "" {
			continue
		}
		if line := p.await(t, "plaintext v1 is now allowed"); line["level"] != "WARN" || fmt.Sprint(line["v1_fallback"], " ", line["cjdnsreachable"]) != c.warn {
			t.Errorf("%+v: the log says %v", c, line)
		}
	}
	if n := strings.Count(p.stop(t), "plaintext v1 is now allowed"); n != 4 {
		t.Errorf("%d warnings, want 4", n)
	}
}

// A reload that admits more clients without a password is a warning; a public listener must keep a
// password or a list of clients.
func TestReloadOfClients(t *testing.T) {
	file := testkit.WriteFile(t, "clients = [\"172.30.0.3\"]\n")
	p := startProgram(t, "--listen", "0.0.0.0:0", "--config", file)
	_, port, err := net.SplitHostPort(p.next(t, "listening")["addr"].(string))
	if err != nil {
		t.Fatal(err)
	}
	answered := func(want string) {
		t.Helper()
		if got := exchange(t, "tcp", net.JoinHostPort("127.0.0.1", port), "\x05\x01\x00", 2); got != want {
			t.Errorf("a loopback client: answer % x, want % x", got, want)
		}
	}
	const in, out = "\x05\x00", "\x05\xff"
	answered(out)
	p.await(t, "session refused")
	for _, c := range []struct {
		content string
		changed string // or an error
		warn    bool
		answer  string
	}{
		{"", "", false, out},
		{"clients = []\n", "", false, out},
		{"clients = [\"127.0.0.0/7\"]\n", "", false, out},
		{"clients = [\"127.0.0.0/8\", \"172.30.0.3\"]\n", "clients", true, in},
		{"clients = [\"127.0.0.1\"]\n", "clients", false, in},
		{"clients = []\nauth = \"u:p\"\n", "auth, clients", false, out},
		{"clients = [\"127.0.0.1\"]\nauth = \"u:p\"\n", "clients", true, in},
		{"clients = [\"127.0.0.2\"]\nauth = \"\"\n", "auth, clients", true, out},
	} {
		line := p.hangUp(t, file, c.content)
		if line["changed"] != c.changed && (c.changed != "" || line["level"] != "ERROR") {
			t.Errorf("%q: the log says %v", c.content, line)
		}
		if c.warn {
			p.await(t, "more clients than before need no password")
		}
		answered(c.answer)
	}
	if n := strings.Count(p.stop(t), "more clients than before"); n != 3 {
		t.Errorf("%d warnings, want 3", n)
	}
}

// --clients with only local listeners is a warning.
func TestIdleClients(t *testing.T) {
	for _, c := range []struct {
		args  []string
		warns bool
	}{
		{[]string{"--listen", "127.0.0.1:0", "--clients", "172.30.0.3"}, true},
		{[]string{"--listen", "0.0.0.0:0", "--listen", "127.0.0.1:0", "--clients", "172.30.0.3"}, false},
		{[]string{"--listen", "127.0.0.1:0"}, false},
	} {
		p := startProgram(t, c.args...)
		p.next(t, "listening")
		if text := p.stop(t); strings.Contains(text, "--clients has no effect") != c.warns {
			t.Errorf("%q:\n%s", c.args, text)
		}
	}
}
