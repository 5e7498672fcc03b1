package command

import (
	"bytes"
	"strings"
	"testing"
)

// The error about mistyped input says what to write.
func TestTypos(t *testing.T) {
	for args, says := range map[string]string{
		"--v1-falback never":           "unknown flag --v1-falback; did you mean --v1-fallback?",
		"-v1-falback=never":            "unknown flag -v1-falback; did you mean --v1-fallback?",
		"-V":                           "unknown flag -V; did you mean -v?",
		"--V":                          "unknown flag --V; did you mean -v?",
		"-H":                           "unknown flag -H; did you mean -h?",
		"-x":                           "unknown flag -x; bip324-proxy --help lists all",
		"check -V":                     "unknown flag -V; bip324-proxy check --help lists all",
		"-v=maybe":                     `-v: "maybe" is invalid; must be true or false`,
		"--v1_fallback never":          "did you mean --v1-fallback?",
		"--satus 127.0.0.1:1325":       "did you mean --status?",
		"--hlep":                       "did you mean --help?",
		"--verison":                    "did you mean --version?",
		"--frobnicate":                 "unknown flag --frobnicate; bip324-proxy --help lists all",
		"check --ntework regtest":      "did you mean --network?",
		"status --wacth":               "did you mean --watch?",
		"check --frobnicate":           "unknown flag --frobnicate; bip324-proxy check --help lists all",
		"--watch status":               "--watch is a flag of status; write it after the command: bip324-proxy status --watch",
		"demo --listen 127.0.0.1:1324": "demo does not take --listen; remove it",
		"chekc":                        `unknown command "chekc"; did you mean check?`,
		"--log-level info statsu":      `unknown command "statsu"; did you mean status?`,
		"frobnicate":                   `unknown command "frobnicate"; bip324-proxy --help lists all`,
		"listen 127.0.0.1:1324":        `unknown command "listen"; did you mean --listen?`,
		"listen=127.0.0.1:1324":        "did you mean --listen?",
		"–listen 127.0.0.1:1324":       `"–listen" does not begin with two ASCII hyphens; write --listen`,
		"—listen=127.0.0.1:1324":       `"—listen=…" does not begin with two ASCII hyphens; write --listen`,
		"—version":                     "write --version",
		"-- --help":                    `"--help" follows --, which ends the flags; remove the --`,
		"-hv":                          "unknown flag -hv; did you mean -h?",
		"config --json=yes":            `--json: "yes" is invalid; must be true or false`,
		"192.0.2.1:8333":               "to listen on that address, write --listen 192.0.2.1:8333; to check that peer, check 192.0.2.1:8333",
		"--log-addresses false":        "--log-addresses false: this flag takes its value after =; write --log-addresses=false",
		"--log-addresses off config":   "write --log-addresses=false",
		"--cjdnsreachable true":        "write --cjdnsreachable=true",
		"check --cjdnsreachable yes":   "write --cjdnsreachable=true",
		"check --json true":            "write --json=true",
		"-listen":                      "--listen needs a value; write --listen ADDRESS",
		"--listen":                     "--listen needs a value; write --listen ADDRESS",
		"--auth-file --status x":       "--auth-file needs a value; write --auth-file FILE",
		"check --network":              "--network needs a value; write --network NETWORK",
		"---listen":                    "see bip324-proxy --help",
		"check --json=maybe":           `--json: "maybe" is invalid; must be true or false`,
		"serve":                        `unknown command "serve"; leave it out: without a command, the proxy runs`,
		"help nosuch":                  `help: unknown command or setting "nosuch"; bip324-proxy --help lists all`,
		"help publish":                 `help: --publish is a flag of run; write bip324-proxy help run`,
		"help --watch":                 `help: --watch is a flag of status; write bip324-proxy help status`,
		"help chekc":                   `help: unknown command or setting "chekc"; did you mean check?`,
		"help v1-falback":              "did you mean v1-fallback?",
		"help --v1-falback":            `help: unknown command or setting "v1-falback"; did you mean v1-fallback?`,
		"help check status":            `help takes one argument, [NAME]; remove "status"`,
	} {
		var stdout, stderr bytes.Buffer
		if code := Run(append([]string{"bip324-proxy"}, strings.Fields(args)...), &stdout, &stderr); code != 2 {
			t.Errorf("%s: exit code %d, want 2", args, code)
		}
		checkOneLine(t, args, stderr.String(), says)
		if stdout.Len() > 0 {
			t.Errorf("%s: printed %q, want nothing", args, &stdout)
		}
	}
}

// No error shows what may be a password.
func TestArgumentsHidePasswords(t *testing.T) {
	for _, args := range []string{
		"—auth=user:hunter2", "auth=user:hunter2", "-auth-=user:hunter2", "-- --auth=user:hunter2", "-- --status-token=hunter2",
		"—upstream=socks5://user:hunter2@127.0.0.1:9050", "socks5://user:hunter2@127.0.0.1:9050", "user:hunter2", "--auth hunter2",
		"config auth=user:hunter2", "man --auth=user:hunter2", "setup auth=user:hunter2", "setup bitcoin.conf auth=user:hunter2",
		"setup bitcoin.conf --auth=user:hunter2", "check auth=user:hunter2", "check node.example:8333 --auth=user:hunter2",
		"check --json node.example:8333 —auth=user:hunter2", "status —token=hunter2", "check socks5://user:hunter2@127.0.0.1:9050",
		"status --json status-token=hunter2", "status http://user:hunter2@127.0.0.1:1325/", "help auth=user:hunter2",
		"completion auth=user:hunter2", "--auth:user:hunter2", "demo upstream=socks5://user:hunter2@127.0.0.1:9050",
	} {
		var stdout, stderr bytes.Buffer
		if code := Run(append([]string{"bip324-proxy"}, strings.Fields(args)...), &stdout, &stderr); code != 2 {
			t.Errorf("%s: exit code %d, want 2", args, code)
		}
		checkOneLine(t, args, stderr.String(), "")
		if strings.Contains(stdout.String()+stderr.String(), "hunter2") {
			t.Errorf("%s: printed %s%s", args, &stdout, &stderr)
		}
	}
}

// Boolean flags accept what the library does.
func TestBooleanValues(t *testing.T) {
	for _, value := range []string{"1", "t", "T", "true", "TRUE", "0", "f", "False"} {
		var stdout, stderr bytes.Buffer
		if code := Run([]string{"bip324-proxy", "config", "--json=" + value}, &stdout, &stderr); code != 0 {
			t.Errorf("%s: exit code %d: %s", value, code, &stderr)
		}
	}
}
