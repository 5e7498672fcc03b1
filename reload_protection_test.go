//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What protects is not dropped because a file does not mention it any more: it may have
// just been truncated, to be written. Who means it says so.
func TestReloadDropsNoProtection(t *testing.T) {
	passwords := filepath.Join(t.TempDir(), "passwords")
	os.WriteFile(passwords, []byte("user:secret\n"), 0o600)
	all := []struct{ set, drop, name string }{
		{"auth = \"user:secret\"", "auth = \"\"", "auth"},
		{fmt.Sprintf("auth-file = %q", passwords), "auth = \"\"", "auth-file"},
		{"upstream = \"socks5://127.0.0.1:9\"", "upstream = \"\"", "upstream"},
		{"deny = [\"private\"]", "deny = []", "deny"},
		{"passthrough = \"deny\"", "passthrough = \"allow\"", "passthrough"},
		{"log-addresses = false", "log-addresses = true", "log-addresses"},
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			file := writeFile(t, c.set+"\n")
			p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
			p.next(t, "listening")
			for _, content := range []string{"", "\n", "# " + c.set + "\n", "grace = \"1s\"\n", "v1-fallback = \"never\"\n"} {
				if line := p.hangUp(t, file, content); line["level"] != "ERROR" || !strings.HasSuffix(fmt.Sprint(line["err"]), "not set any more: "+c.name+"; write it again, or if new sessions are to do without, write "+c.drop) {
					t.Errorf("%q: the log says %v", content, line)
				}
			}
			if line := p.hangUp(t, file, c.set+"\n"); line["changed"] != "nothing" {
				t.Errorf("the log says %v", line)
			}
			if line := p.hangUp(t, file, c.drop+"\n"); line["changed"] != c.name {
				t.Errorf("the log says %v", line)
			}
			if line := p.hangUp(t, file, ""); line["changed"] != "nothing" { // nothing is lost
				t.Errorf("the log says %v", line)
			}
			p.stop(t)
		})
	}
	file := writeFile(t, "")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file, "--passthrough", "deny")
	p.next(t, "listening")
	sum := all[0].set + "\n" + all[3].set + "\n" + all[5].set + "\n"
	p.hangUp(t, file, sum)
	if line := p.hangUp(t, file, ""); !strings.Contains(fmt.Sprint(line["err"]), `not set any more: auth, deny, log-addresses; write it again, or if new sessions are to do without, write auth = "", deny = [], log-addresses = true`) {
		t.Errorf("the log says %v", line)
	}
	if line := p.hangUp(t, file, strings.Replace(sum, all[0].set, all[1].set, 1)); line["changed"] != "auth, auth-file" { // one is as good as the other
		t.Errorf("the log says %v", line)
	}
	os.Truncate(passwords, 0)
	if line := p.signalHangup(t); line["level"] != "ERROR" {
		t.Errorf("with an empty file of passwords the log says %v", line)
	}
	p.stop(t)
}

// A reload that lets plaintext out is a warning, one that does not is none.
func TestReloadWarnsOfPlaintext(t *testing.T) {
	file := writeFile(t, "")
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
		if line := p.await(t, "may speak plaintext v1"); line["level"] != "WARN" || fmt.Sprint(line["v1_fallback"], " ", line["cjdnsreachable"]) != c.warn {
			t.Errorf("%+v: the log says %v", c, line)
		}
	}
	if n := strings.Count(p.stop(t), "may speak plaintext v1"); n != 4 {
		t.Errorf("%d warnings, want 4", n)
	}
}
