package command

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

// A missing file or directory gives exit code 1.
func TestUnavailable(t *testing.T) {
	for _, args := range [][]string{
		{"--auth-file", "/no/such/file"},
		{"--status-token-file", "/no/such/file"},
		{"--status", "unix:/no/such/directory/socket"},
		{"--known-peers", "/no/such/directory/peers"},
		{"--listen", "unix:/no/such/directory/socket"},
	} {
		var stdout, stderr bytes.Buffer
		if code := Run(append([]string{"bip324-proxy"}, args...), &stdout, &stderr); code != 1 {
			t.Errorf("%s: exit code %d, want 1", args, code)
		}
		checkOneLine(t, args[0], stderr.String(), "/no/such/")
	}
}

// Invalid input gives exit code 2 and one line that says what to do.
func TestWrongInput(t *testing.T) {
	for _, test := range []struct {
		args, says string
	}{
		{"--v1-fallback sometimes", `--v1-fallback: "sometimes" is invalid; must be never, overlay or always`},
		{"--passthrough maybe", `"maybe" is invalid; must be allow or deny`},
		{"--grace soon", "-grace"},
		{"--grace -1s", "must not be negative"},
		{"--log-level loud", "invalid; must be debug, info, warn or error"},
		{"--log-format xml", "must be text or json"},
		{"--listen 1324", "write HOST:PORT"},
		{"--listen :1324", "write HOST:PORT"},
		{"--listen 127.0.0.1:99999", "write HOST:PORT"},
		{"--listen no-such-host.invalid:0", `"no-such-host.invalid:0" has an unknown host`},
		{"--listen 0.0.0.0:0", "add --auth USER:PASSWORD"},
		{"--listen [::]:0", "add --auth USER:PASSWORD"},
		{"--listen unix:", "has no path"},
		{"--auth secret", "write USER:PASSWORD"},
		{"--listen 0.0.0.0:0 --auth user:", "write USER:PASSWORD"},
		{"--auth :secret", "write USER:PASSWORD"},
		{"--auth a:b --auth-file f", "give one of them"},
		{"--upstream 127.0.0.1:9050", "--upstream: the URL of the upstream proxy is invalid; write socks5://"},
		{"--upstream http://127.0.0.1:9050", "--upstream: the URL of the upstream proxy is invalid; write socks5://"},
		{"--peer 127.0.0.1:0", "is not ADDRESS=PEER"},
		{"--peer 127.0.0.1:0=node.example", "is not ADDRESS=PEER"},
		{"--peer 0.0.0.0:0=node.example:8333", "these clients need no password"},
		{"--allow 10.0.0.0/33", `--allow: "10.0.0.0/33" has an invalid host; write HOST or HOST:PORT`},
		{"--deny prvate", `--deny: "prvate" is taken as a host name; did you mean private? If a host has that name, write prvate. with a dot`},
		{"--allow node.example,Private:8333", `--allow: "Private" is taken as a host name; did you mean private?`},
		{"--deny onion", `"onion" is taken as a host name; did you mean *.onion?`},
		{"--deny all", `"all" is taken as a host name; did you mean *?`},
		{"--deny *:http", "has an invalid port or range"},
		{"--deny 10.0.0.0/8,*.node..example", `--deny: "*.node..example" has an invalid host`},
		{"--shape covr", `--shape: "covr" is invalid; must be off, core, pad, cover or tunnel; did you mean cover?`},
		{"--shape cover,cel=512", `--shape: "cel" is not a key of cover; must be bucket, cell, every or budget; did you mean cell?`},
		{"--shape 127.0.0.1:8333=pad", `--shape: "127.0.0.1:8333" is not the address of a listener; must be 127.0.0.1:1324 or [::1]:1324, as in --listen,`},
		{"--max-sessions 0", "--max-sessions: must be at least 1; omit it"},
		{"--max-sessions many", "max-sessions"},
		{"--client-rate 0", "--client-rate: 0 is invalid; must be from 1 to 1000000"},
		{"--log-addresses=maybe", `--log-addresses: "maybe" is invalid; must be true or false`},
		{"--listen 0.0.0.0:0", "Bitcoin Core, --clients with their addresses"},
		{"--peer 0.0.0.0:0=node.example:8333", "add --clients"},
		{"--clients 172.30.0.5/16", "--clients: \"172.30.0.5/16\" has bits after the first 16; write 172.30.0.0/16"},
		{"--listen 0.0.0.0:0 --clients 0.0.0.0/0", "write public:0.0.0.0/0"},
		{"--clients 203.0.113.0/24", "write public:203.0.113.0/24"},
		{"--clients core.example", "is neither an address nor a network"},
		{"--listen unix:/s?mode=0666", "any local user could connect to /s; use a mode that ends in 0"},
		{"--listen unix:/s?mode=0602", "add --auth USER:PASSWORD"},
		{"--listen unix:/s?mode=9", "--listen: \"unix:/s?mode=9\" has the invalid mode \"9\""},
		{"--listen unix:/s?mod=0660", "has the unknown option \"mod\""},
		{"--listen unix:/no-such-dir/s?group=no-such-group-here", "has an unknown group"},
		{"--peer unix:/s?mode=0666=node.example:8333 --auth u:p", "these clients need no password"},
		{"--status unix:/s?mode=0666", "add --status-token TOKEN"},
		{"--status 1325", "--status: \"1325\" is not a valid address; write HOST:PORT"},
		{"--status 0.0.0.0:0", "add --status-token TOKEN"},
		{"--status [::]:0", "add --status-token TOKEN"},
		{"--status 192.0.2.1:1325", "add --status-token TOKEN"},
		{"--status-token short", "--status-token: the token must have at least 16 characters"},
		{"--status-token 0123456789abcdef --status-token-file f", "--status-token and --status-token-file: mutually exclusive; give one of them"},
		{"--status-host *", `--status-host: "*" is not a valid host`},
		{"--status-host status.example:1325", "without port"},
		{"--inbound 0.0.0.0:8333", `--inbound: "0.0.0.0:8333" is invalid; must be ADDRESS=NODE, such as 0.0.0.0:8333=127.0.0.1:8335`},
		{"--inbound-v1 yes", `--inbound-v1: "yes" is invalid; must be never, overlay or always`},
		{"--inbound-sessions 8", "--inbound-sessions: has no effect without --inbound; add --inbound"},
		{"--no-such-flag", "no-such-flag"},
		{"serve", `unknown command "serve"`},
		{"demo now", `remove "now"`},
		{"demo --fast", "fast"},
		{"setup FILE", `setup: "FILE" is not a known configuration file; must be bitcoin.conf, btcd.conf, `},
		{"setup /no-such-dir/btcd.conf", "the directory of /no-such-dir/btcd.conf does not exist"},
		{"setup btcd.conf lnd.conf", `remove "lnd.conf"`},
		{"setup --listen nowhere", `--listen: "nowhere"`},
		{"config now", `config takes no arguments; remove "now"`},
		{"config --fast", "fast"},
		{"--grace soon config", `--grace: "soon" is not a valid duration`},
		{"man page", `remove "page"`},
		{"completion", "name one shell, of bash, zsh, fish"},
		{"completion csh", "name one shell, of bash, zsh, fish"},
		{"completion bash zsh", "name one shell, of bash, zsh, fish"},
		{"version 2", `remove "2"`},
	} {
		var stdout, stderr bytes.Buffer
		code := Run(append([]string{"bip324-proxy"}, strings.Fields(test.args)...), &stdout, &stderr)
		if code != 2 {
			t.Errorf("%s: exit code %d, want 2", test.args, code)
		}
		checkOneLine(t, test.args, stderr.String(), test.says)
		if stdout.Len() > 0 {
			t.Errorf("%s: printed %q, want nothing", test.args, &stdout)
		}
	}
}

func TestWrongEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"BIP324_PROXY_LISTEN":       "nowhere",
		"BIP324_PROXY_V1_FALLBACK":  "nowhere",
		"BIP324_PROXY_PASSTHROUGH":  "nowhere",
		"BIP324_PROXY_GRACE":        "nowhere",
		"BIP324_PROXY_ALLOW":        "nowhere/8",
		"BIP324_PROXY_MAX_SESSIONS": "nowhere",
		"BIP324_PROXY_LOG_LEVEL":    "nowhere",
		"BIP324_PROXY_LOG_FORMAT":   "nowhere",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			var stdout, stderr bytes.Buffer
			if code := Run([]string{"bip324-proxy"}, &stdout, &stderr); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			checkOneLine(t, name, stderr.String(), `"`+value+`"`)
		})
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stdout, stderr bytes.Buffer
	if code := Run([]string{"bip324-proxy", "--listen", l.Addr().String()}, &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	checkOneLine(t, "a port in use", stderr.String(), l.Addr().String())
	checkOneLine(t, "a port in use", stderr.String(), "to use another address, set --listen")
}

func checkOneLine(t *testing.T, what, got, says string) {
	t.Helper()
	if !strings.HasPrefix(got, "bip324-proxy: ") || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
		t.Errorf("%s: got %q, want one line from the program", what, got)
	}
	if !strings.Contains(got, says) {
		t.Errorf("%s: got %q, want %q in it", what, got, says)
	}
}

// The demo checks itself (equal session ids, no plaintext) and fails if a check does; its output
// must also be complete.
func TestDemo(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Run([]string{"bip324-proxy", "demo"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	for _, word := range []string{
		"f9beb4d976657273696f6e0000000000", // magic and "version", as sent by the client
		"Session id, as the proxy has it: ",
		"000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
		`"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks"`,
		"MB/s",
		"as the node has it:  ",
		"as the peer has it:  ",
	} {
		if !strings.Contains(stdout.String(), word) {
			t.Errorf("the demo does not show %q:\n%s", word, &stdout)
		}
	}
}
