//go:build unix

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/settings"
	"bip324proxy/status"
)

const statusToken = "hunter2-hunter2-hunter2"

// getStatus requests path from the program's status page, with token unless it is empty.
func getStatus(t *testing.T, network, addr, path, token string) (code int, body string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest("GET", "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(b)
}

// The page works before the first client and after the last, shows the settings without secrets,
// and requires the token.
func TestStatus(t *testing.T) {
	dir := t.TempDir()
	file, path := filepath.Join(dir, "token"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, []byte(statusToken+"\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args    []string
		network string
		token   string
	}{
		{[]string{"--status", "127.0.0.1:0"}, "tcp", ""},
		{[]string{"--status", "127.0.0.1:0", "--status-token", statusToken}, "tcp", statusToken},
		{[]string{"--status", "0.0.0.0:0", "--status-token-file", file}, "tcp", statusToken},
		{[]string{"--status", "unix:" + path}, "unix", ""},
	} {
		node := v2Node(t)
		p := startProgram(t, append(c.args, "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0="+node, "--auth", "user:hunter3", "--upstream", "", "--grace", "5s")...)
		line := p.next(t, "status page")
		addr := line["addr"].(string)
		if _, ok := line["url"]; ok != (c.network == "tcp") {
			t.Errorf("%q: the log says %v", c.args, line)
		}
		p.next(t, "listening")
		peer := p.next(t, "listening")["addr"].(string)
		code, body := getStatus(t, c.network, addr, "/readyz", "")
		for range 100 { // the log line precedes listening by a moment
			if code == 200 {
				break
			}
			time.Sleep(10 * time.Millisecond)
			code, body = getStatus(t, c.network, addr, "/readyz", "")
		}
		if code != 200 {
			t.Errorf("%q: /readyz says %d, %s", c.args, code, body)
		}
		if c.token != "" {
			if code, body := getStatus(t, c.network, addr, "/api/status", ""); code != 401 {
				t.Errorf("%q: without the token %d, %s", c.args, code, body)
			}
		}
		report := func() (r status.Report) {
			t.Helper()
			code, body := getStatus(t, c.network, addr, "/api/status", c.token)
			if err := json.Unmarshal([]byte(body), &r); code != 200 || err != nil {
				t.Errorf("%q: got %d, %v, %s", c.args, code, err, body)
			}
			if strings.Contains(body, "hunter") {
				t.Errorf("%q: a secret is shown: %s", c.args, body)
			}
			return r
		}
		r := report()
		for range 100 { // it is ready with the first listener
			if len(r.Listeners) == 2 {
				break
			}
			time.Sleep(10 * time.Millisecond)
			r = report()
		}
		if len(r.Settings) != len(settings.Flags()) || r.Version == "" || len(r.Listeners) != 2 || r.Live.All != 0 {
			t.Errorf("%q: got %+v", c.args, r)
		}
		for _, s := range r.Settings {
			if s.Name == "auth" && (s.Value != "(set)" || s.Origin != "flag") || s.Name == "client-rate" && (s.Value != 20.0 || s.Origin != "default") {
				t.Errorf("%q: got %+v", c.args, s)
			}
		}

		// While the last session ends, the page still works and says so.
		client, err := net.Dial("tcp", peer)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(client, "\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5d\xf6\xe0\xe2")
		if line := p.next(t, "session opened"); line["transport"] != "v2" {
			t.Errorf("the log says %v", line)
		}
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.next(t, "shutting down")
		for end := time.Now().Add(4 * time.Second); ; {
			if code, body := getStatus(t, c.network, addr, "/readyz", ""); code == 503 && body == "stopping\n" {
				break
			} else if time.Now().After(end) {
				t.Fatalf("%q: while stopping /readyz says %d, %s", c.args, code, body)
			}
		}
		if r := report(); !r.Stopping || r.Live.V2 != 1 || len(r.Sessions) != 1 || r.Sessions[0].Dest != node {
			t.Errorf("%q: while stopping %+v", c.args, r)
		}
		client.Close()
		for range p.lines {
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%q: got %v", c.args, err)
		}
		if nc, err := net.Dial(c.network, addr); err == nil {
			nc.Close()
			t.Errorf("%q: the page still answers", c.args)
		}
	}
}

// The page shows the settings after a reload.
func TestStatusAfterReload(t *testing.T) {
	file := testkit.WriteFile(t, "v1-fallback = \"never\"\n")
	p := startProgram(t, "--config", file, "--status", "127.0.0.1:0", "--listen", "127.0.0.1:0")
	addr := p.next(t, "status page")["addr"].(string)
	p.next(t, "listening")
	if err := os.WriteFile(file, []byte("\nv1-fallback = \"overlay\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.next(t, "configuration reloaded")
	if _, body := getStatus(t, "tcp", addr, "/api/status", ""); !strings.Contains(body, `{"name":"v1-fallback","value":"overlay","origin":"`+file+`:2"}`) {
		t.Errorf("after a reload: got %s", body)
	}
	p.stop(t)
}

// The error about an unusable token names the token's file.
func TestStatusTokenFile(t *testing.T) {
	file := testkit.WriteFile(t, "hunter2\n")
	var stdout, stderr bytes.Buffer
	if code := Run([]string{"bip324-proxy", "--status-token-file", file}, &stdout, &stderr); code != 2 {
		t.Errorf("exit code %d", code)
	}
	checkOneLine(t, "--status-token-file", stderr.String(), file+": the token must have at least 16 characters")
	if strings.Contains(stderr.String(), "hunter2") {
		t.Errorf("the token is shown: %s", &stderr)
	}
}

// A new token takes effect after a restart, even in the same file; every reload says so.
func TestReloadOfATokenFile(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "token")
	os.WriteFile(tokens, []byte(statusToken+"\n"), 0o600)
	p := startProgram(t, "--status", "127.0.0.1:0", "--status-token-file", tokens, "--listen", "127.0.0.1:0")
	addr := p.next(t, "status page")["addr"].(string)
	p.next(t, "listening")
	if line := p.signalHangup(t); line["changed"] != "nothing" {
		t.Errorf("the log says %v", line)
	}
	const newer = "another-" + statusToken
	os.WriteFile(tokens, []byte(newer+"\n"), 0o600)
	for range 2 {
		if line := p.signalHangup(t); line["changed"] != "nothing" {
			t.Errorf("the log says %v", line)
		}
		if line := p.next(t, "these changes take effect after a restart"); line["settings"] != "status-token-file" {
			t.Errorf("the log says %v", line)
		}
	}
	for token, want := range map[string]int{statusToken: 200, newer: 401} {
		if code, body := getStatus(t, "tcp", addr, "/api/status", token); code != want {
			t.Errorf("%s: got %d, %s", token, code, body)
		}
	}
	if text := p.stop(t); strings.Contains(text, statusToken) {
		t.Errorf("a token is in the log:\n%s", text)
	}
}
