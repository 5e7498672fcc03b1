package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/settings"
	"bip324proxy/status"
)

// config runs the command config and returns what it prints.
func config(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := Run(append([]string{"bip324-proxy"}, args...), &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, &stderr)
	}
	return stdout.String()
}

// inJSON parses the output of config --json.
func inJSON(t *testing.T, text string) map[string]status.Setting {
	t.Helper()
	var list []status.Setting
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	all := make(map[string]status.Setting)
	for _, f := range list {
		all[f.Name] = f
	}
	if n := len(settings.Flags()); len(list) != n || len(all) != n {
		t.Errorf("%d settings of %d", len(all), n)
	}
	return all
}

// Flags override the environment, that overrides the file, and that the defaults. Flags
// are accepted before and after the command.
func TestPrecedence(t *testing.T) {
	file := testkit.WriteFile(t, "# mine\nv1-fallback = \"overlay\"\n\ngrace = \"2s\"\nclient-rate = 30\ndeny = [ \"private\",\n \"*:25\" ]\n")
	line := func(n int) string { return fmt.Sprintf("%s:%d", file, n) }
	for _, c := range []struct {
		env, args string
		name      string
		value     any
		origin    string
	}{
		{"", "config", "v1-fallback", "never", "default"},
		{"", "--config FILE config", "v1-fallback", "overlay", line(2)},
		{"", "config --config FILE", "v1-fallback", "overlay", line(2)},
		{"CONFIG=FILE", "config", "grace", "2s", line(4)},
		{"CONFIG=FILE V1_FALLBACK=always", "config", "v1-fallback", "always", "environment"},
		{"V1_FALLBACK=always", "config --config FILE", "v1-fallback", "always", "environment"},
		{"V1_FALLBACK=always", "--config FILE --v1-fallback never config", "v1-fallback", "never", "flag"},
		{"V1_FALLBACK=always", "--config FILE config --v1-fallback never", "v1-fallback", "never", "flag"},
		{"", "--v1-fallback always config --v1-fallback overlay", "v1-fallback", "overlay", "flag"},
		{"", "--grace 1s --grace 3s config", "grace", "3s", "flag"},
		{"", "--grace 5s config --config FILE", "grace", "5s", "flag"},
		{"GRACE=", "config --config FILE", "grace", "2s", line(4)}, // empty says nothing
		{"CONFIG=/no/such/file", "config --config FILE", "client-rate", 30., line(5)},
		{"CONFIG=/no/such/file", "config --config=", "client-rate", 20., "default"},
		{"", "config --config FILE", "deny", []any{"private", "*:25"}, line(6)},
		{"DENY=10.0.0.1,*.onion", "config --config FILE", "deny", []any{"10.0.0.1", "*.onion"}, "environment"},
		{"DENY=10.0.0.1", "--config FILE config --deny 10.0.0.2 --deny 10.0.0.3,10.0.0.4", "deny", []any{"10.0.0.2", "10.0.0.3", "10.0.0.4"}, "flag"},
		{"DENY=10.0.0.1", "--deny 10.0.0.2 config --deny 10.0.0.3", "deny", []any{"10.0.0.3"}, "flag"},
		{"", "config", "listen", []any{"127.0.0.1:1324", "[::1]:1324"}, "default"},
		{"", "config", "deny", []any{}, "default"},
		{"SERVICE_HOST=10.0.0.1 PORT_1324_TCP_ADDR=10.0.0.1", "config", "grace", "5s", "default"}, // Kubernetes says this
	} {
		t.Run(strings.TrimSpace(c.env+" "+c.args), func(t *testing.T) {
			for _, variable := range strings.Fields(strings.ReplaceAll(c.env, "FILE", file)) {
				name, value, _ := strings.Cut(variable, "=")
				t.Setenv("BIP324_PROXY_"+name, value)
			}
			args := append(strings.Fields(strings.ReplaceAll(c.args, "FILE", file)), "--json")
			got := inJSON(t, config(t, args...))[c.name]
			if !reflect.DeepEqual(got.Value, c.value) || got.Origin != c.origin {
				t.Errorf("%s is %v, from %s; want %v, from %s", c.name, got.Value, got.Origin, c.value, c.origin)
			}
		})
	}
}

// An invalid file is exit code 2, and one line with the line number.
func TestWrongFile(t *testing.T) {
	for _, c := range []struct {
		content, says string
	}{
		{"grace = \"1s\"\nv1-fallback = \"sometimes\"\n", `FILE:2: v1-fallback: "sometimes" is invalid; must be never, overlay or always`},
		{"\n\nfallback = \"never\"\n", `FILE:3: unknown setting "fallback"; did you mean v1-fallback?`},
		{"upstraem = \"\"", `FILE:1: unknown setting "upstraem"; did you mean upstream?`},
		{"[log]\nlevel = \"info\"", "FILE:1: sections are not supported; remove [log]"},
		{"[grace]\n", "FILE:1: sections are not supported; remove [grace]"},
		{"grace.a = 1", `FILE:1: unknown setting "grace.a"`},
		{"\r\n\r\n# x\r\nx = 1\r\n", `FILE:4: unknown setting "x"`},
		{"a" + strings.Repeat(".a", 400_000) + " = 1", `FILE:1: unknown setting "a.a.a.`}, // in no time to speak of
		{"log.level = \"info\"", `FILE:1: unknown setting "log.level"`},
		{"\"a\\nb\" = 1", `FILE:1: unknown setting "a\nb"`},
		{"config = \"other\"", "FILE:1: config: a file cannot include another; remove this line"},
		{"grace = \"1s\"\n\ngrace = \"2s\"\n", "FILE:3: grace is already set in line 1; remove one of them"},
		{"grace = 10", `FILE:1: grace: must be a string, in quotes, such as grace = "5s"`},
		{"grace = \"10\"", `FILE:1: grace: "10" is not a valid duration; write it as 10s or 1m30s`},
		{"grace = \"-1s\"", "FILE:1: grace: must not be negative; 0 ends sessions at once"},
		{"v1-fallback = false", `FILE:1: v1-fallback: must be a string, in quotes, such as v1-fallback = "never"`},
		{"v1-fallback = never", `FILE:1: v1-fallback: must be a string, in quotes, such as v1-fallback = "never"`},
		{"client-rate = \"20\"", "FILE:1: client-rate: must be an integer, without quotes, such as client-rate = 20"},
		{"client-rate = 20.0", "FILE:1: client-rate: must be an integer"},
		{"client-rate = 99999999999999999999", "FILE:1: invalid TOML: "},
		{`known-peers = "C:\peers"`, `write a path with \ in single quotes`},
		{"client-rate = 0", "FILE:1: client-rate: 0 is invalid; must be from 1 to 1000000"},
		{"client-rate = 2000000000000000000", " is invalid; must be from 1 to 1000000"},
		{"max-sessions = 0", "FILE:1: max-sessions: must be at least 1; omit it"},
		{"max-sessions = -3", "FILE:1: max-sessions: must be at least 1; omit it"},
		{"message-memory = 7", "FILE:1: message-memory: 7 is invalid; must be from 8 to "},
		{"listen = \"127.0.0.1:1324\"", `FILE:1: listen: must be a list of strings, such as listen = ["127.0.0.1:1324", "[::1]:1324"]`},
		{"listen = []", "FILE:1: listen: must not be empty; omit it for 127.0.0.1:1324"},
		{"listen = [\n1324\n]", "FILE:1: listen: must be a list of strings"},
		{"listen = [\"1324\"]", `FILE:1: listen: "1324" is not a valid address; write HOST:PORT`},
		{"listen = [\"127.0.0.1:1\", \"0.0.0.0:1\"]", "FILE:1: listen: 0.0.0.0:1 is not a loopback address"},
		{"upstream = \"socks5://127.0.0.1:1324\"", "FILE:1: upstream: 127.0.0.1:1324 is this proxy's own address"},
		{"listen = [\"unix:\"]", "has no path"},
		{"allow = [\"private,*\"]", `FILE:1: allow: "private,*" has an invalid host`},
		{"allow = {a = 1}", "FILE:1: allow: must be a list of strings"},
		{"grace = 2001-01-01", "FILE:1: grace: must be a string, in quotes"},
		{"deny = [\"10.0.0.0/33\"]", `FILE:1: deny: "10.0.0.0/33" has an invalid host`},
		{"peer = [\"127.0.0.1:0=node\"]", "FILE:1: peer: \"127.0.0.1:0=node\" is not ADDRESS=PEER"},
		{"peer = [\"0.0.0.0:1=node:8333\"]", "FILE:1: peer: 0.0.0.0:1 is not a loopback address, and these clients need no password"},
		{"peer = [\"1=node:8333\"]", "FILE:1: peer: \"1\" is not a valid address"},
		{"auth = \"a:b\"\nauth-file = \"f\"", "FILE:1: auth and FILE:2: auth-file: mutually exclusive; give one of them"},
		{"auth = \"hunter2\"", "FILE:1: auth: write USER:PASSWORD"},
		{"upstream = \"hunter2\"", "FILE:1: upstream: the URL of the upstream proxy is invalid; write socks5://"},
		{"passthrough = \"\"", `FILE:1: passthrough: "" is invalid; must be allow or deny`},
		{"log-level = \"INFO\"", `FILE:1: log-level: "INFO" is invalid; must be debug, info, warn or error`},
		{"\nlog-level = \"\xff\"", "FILE:2: the file is not UTF-8; save it as UTF-8"},
		{"l\x00o\x00g\x00\n\x00", "FILE:1: the file contains NUL bytes: it is UTF-16 or not text; save it as UTF-8"},
		{"\xff\xfe\n\x00\x00\xd8", "FILE:2: the file is invalid UTF-16; save it as UTF-8"},
		{strings.Repeat("#\n", 1<<20), "the file has more than 1048576 bytes"},
	} {
		file := testkit.WriteFile(t, c.content)
		var stdout, stderr bytes.Buffer
		for _, args := range [][]string{{"--config", file}, {"config", "--config", file}, {"--config", file, "config"}} {
			stderr.Reset()
			if code := Run(append([]string{"bip324-proxy"}, args...), &stdout, &stderr); code != 2 {
				t.Errorf("%.40q: exit code %d, want 2", c.content, code)
			}
			checkOneLine(t, fmt.Sprintf("%.40q", c.content), stderr.String(), strings.ReplaceAll(c.says, "FILE", file))
		}
		if stdout.Len() > 0 || strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("%.40q: printed %q, %q", c.content, &stdout, &stderr)
		}
	}
}

// A missing file is exit code 1: it may be there next time.
func TestUnreadableFile(t *testing.T) {
	for _, file := range []string{"/no/such/file", t.TempDir()} {
		var stdout, stderr bytes.Buffer
		if code := Run([]string{"bip324-proxy", "--config", file}, &stdout, &stderr); code != 1 {
			t.Errorf("%s: exit code %d, want 1", file, code)
		}
		checkOneLine(t, file, stderr.String(), file)
	}
}

// An error names the setting in the way that it was given.
func TestWrongWhereGiven(t *testing.T) {
	for _, c := range []struct{ env, says string }{
		{"GRACE=-1s", "BIP324_PROXY_GRACE: must not be negative"},
		{"MAX_SESSIONS=many", `BIP324_PROXY_MAX_SESSIONS: "many" is not a valid integer`},
		{"UPSTREAM=127.0.0.1:9050", "BIP324_PROXY_UPSTREAM: the URL of the upstream proxy is invalid"},
		{"UPSTEAM=socks5://127.0.0.1:9050", "BIP324_PROXY_UPSTEAM: unknown setting; did you mean BIP324_PROXY_UPSTREAM?"},
		{"AUTH_FILES=f", "did you mean BIP324_PROXY_AUTH_FILE?"},
		{"LISTEN=unix:/no/such/directory/socket", "to use another address, set BIP324_PROXY_LISTEN"},
		{"AUTH_FILE=/no/such/file", "BIP324_PROXY_AUTH_FILE: open /no/such/file"},
	} {
		t.Run(c.env, func(t *testing.T) {
			name, value, _ := strings.Cut(c.env, "=")
			t.Setenv("BIP324_PROXY_"+name, value)
			var stdout, stderr bytes.Buffer
			if code := Run([]string{"bip324-proxy"}, &stdout, &stderr); code == 0 {
				t.Error("exit code 0")
			}
			checkOneLine(t, c.env, stderr.String(), c.says)
		})
	}
}

// config prints a file with the same settings and no secret.
func TestConfigPrintsAFile(t *testing.T) {
	auth := filepath.Join(t.TempDir(), "auth")
	if err := os.WriteFile(auth, []byte("user:hunter1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{},
		{"--listen", "127.0.0.1:1", "--listen", "unix:/a \"b\"\\c\x7f\té\u2028", "--auth-file", auth, "--v1-fallback", "overlay",
			"--known-peers", `C:\peers`, "--allow", "10.0.0.0/8", "--allow", "*:25", "--deny", "*", "--passthrough", "deny",
			"--peer", "127.0.0.1:2=node.example:8333", "--message-memory", "9", "--max-sessions", "7", "--client-rate", "3",
			"--grace", "1m30s", "--log-level", "warn", "--log-format", "json", "--upstream", "socks5://127.0.0.1:9050"},
		{"--auth", "user:hunter2", "--upstream", "socks5://user:hunter3@127.0.0.1:9050"},
	} {
		first, firstJSON := config(t, append(args, "config")...), config(t, append(args, "config", "--json")...)
		again := config(t, "config", "--json", "--config", testkit.WriteFile(t, first))
		one, two := inJSON(t, firstJSON), inJSON(t, again)
		for name, a := range one {
			b := two[name]
			if strings.Contains(first, "# "+name+" =") {
				if b.Origin != "default" && name != "config" {
					t.Errorf("%s is from %s", name, b.Origin)
				}
				continue
			}
			if !reflect.DeepEqual(a.Value, b.Value) {
				t.Errorf("%s was %v and is %v, of\n%s", name, a.Value, b.Value, first)
			}
		}
		if text := first + firstJSON; strings.Contains(text, "hunter") {
			t.Errorf("a password is shown:\n%s", text)
		}
	}
	text := config(t, "--auth", "user:hunter2", "--upstream", "socks5://user:hunter3@127.0.0.1:9050", "config")
	for _, line := range []string{
		`v1-fallback = "never" +# default`,
		`# auth = "\(set\)" +# flag; not shown`,
		`upstream = "socks5://127.0.0.1:9050" +# flag; its user name and password are not shown`,
		`# max-sessions = [1-9][0-9]* +# default; from the file descriptor limit`,
	} {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(text) {
			t.Errorf("no line is like %s:\n%s", line, text)
		}
	}
}
