package command

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bip324proxy/check"
	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// runProgram runs the program in this process.
func runProgram(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(append([]string{"bip324-proxy"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// polite starts a v2 peer on regtest that answers VERSION.
func polite(t *testing.T) (addr string) {
	regtest, _ := transport.ParseNetwork("regtest")
	return testkit.Serve(t, func(nc net.Conn) {
		c, err := transport.Server(t.Context(), nc, transport.Config{Magic: regtest.Magic})
		if err != nil {
			return
		}
		c.ReadPacket()
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("version"), versionPayload("/polite:1/")))
		io.Copy(io.Discard, nc)
	})
}

// If the peer passes, the exit code is 0, and JSON says the same as the text.
func TestCheckPeer(t *testing.T) {
	peer := polite(t)
	code, stdout, stderr := runProgram("check", "--network", "regtest", peer)
	if code != 0 || stderr != "" || !strings.Contains(stdout, "ok       version        /polite:1/, protocol 70016") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = runProgram("check", "--json", "--network", "regtest", peer)
	var r check.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 0 || !r.OK || r.Peer == nil ||
		r.Peer.Speaks != "v2" || len(r.Peer.SessionID) != 64 || r.Peer.UserAgent != "/polite:1/" || r.Peer.Network != "regtest" {
		t.Errorf("exit code %d, %v\n%s", code, err, stdout)
	}
}

// If one check fails, the exit code is 1, in JSON as in text, and stderr has one line.
func TestCheckFails(t *testing.T) {
	nobody := testkit.Nobody(t)
	for _, args := range [][]string{{"check", nobody}, {"check", "--json", nobody}} {
		code, stdout, stderr := runProgram(args...)
		if code != 1 || !strings.Contains(stdout, "connection refused") {
			t.Errorf("%s: exit code %d\n%s", args, code, stdout)
		}
		checkOneLine(t, "check", stderr, "1 of 1 checks failed")
	}
}

// check uses the proxy's settings, wherever they are given.
func TestCheckSettings(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := new(proxy.Server)
	go server.Serve(l)
	defer server.Close()
	t.Setenv("BIP324_PROXY_LISTEN", l.Addr().String())
	t.Setenv("BIP324_PROXY_DENY", "10.0.0.0/8")
	_, stdout, _ := runProgram("--max-sessions", "10", "check", "--passthrough", "deny")
	for _, line := range []string{
		"ok       configuration  valid: 2 from flags, 2 from the environment\n",
		"ok       listener       " + l.Addr().String() + ": a SOCKS5 proxy answers, as bip324-proxy does\n",
		"ok       sessions       up to 10 sessions at a time;",
	} {
		if !strings.Contains(stdout, line) {
			t.Errorf("want %q in\n%s", line, stdout)
		}
	}
	if _, stdout, _ := runProgram("check", "10.1.2.3"); !strings.Contains(stdout, "10.1.2.3:8333 is denied by the rule 10.0.0.0/8") {
		t.Error(stdout)
	}
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("v1-fallback = \"always\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stdout, _ := runProgram("--config", file, "check"); !strings.Contains(strings.Join(strings.Fields(stdout), " "), "valid: 2 from the environment, 1 from "+file+" ok") {
		t.Error(stdout)
	}
	if code, stdout, stderr := runProgram("check", "--upstream", "nonsense"); code != 2 || stdout != "" {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// check --listeners is a health check: its exit code says whether the proxy answers.
func TestCheckListeners(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := new(proxy.Server)
	go server.Serve(l)
	t.Setenv("BIP324_PROXY_LISTEN", l.Addr().String())
	code, stdout, stderr := runProgram("check", "--listeners")
	if want := "ok       listener       " + l.Addr().String() + ": a SOCKS5 proxy answers, as bip324-proxy does\n"; code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	server.Close()
	if code, stdout, _ := runProgram("check", "--listeners"); code != 1 || !strings.Contains(stdout, "nothing is listening there") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

func TestCheckWrongInput(t *testing.T) {
	for args, says := range map[string]string{
		"check node.example:8333 --json":        "write --json before node.example:8333",
		"check node.example:8333 other:8333":    `check takes one argument, [HOST:PORT]; remove "other:8333"`,
		"check --network regtest":               "add its HOST:PORT",
		"check --v1":                            "add its HOST:PORT",
		"check --listeners node.example:8333":   `remove it or "node.example:8333"`,
		"check --network testnet node.example":  `"testnet" is invalid; must be mainnet,`,
		"check --network 0a03cf41 node.example": "write HOST:PORT",
		"check node.example:0":                  "no port from 1 to 65535",
		"check --no-such-flag":                  "no-such-flag",
	} {
		code, stdout, stderr := runProgram(strings.Fields(args)...)
		if code != 2 || stdout != "" {
			t.Errorf("%s: exit code %d, want 2; printed %q", args, code, stdout)
		}
		checkOneLine(t, args, stderr, says)
	}
	code, stdout, stderr := runProgram("check", "") // as from a script with an unset variable
	if code != 2 || stdout != "" {
		t.Errorf("exit code %d, want 2; printed %q", code, stdout)
	}
	checkOneLine(t, "an empty argument", stderr, "check: [HOST:PORT] is empty; omit it or give a value")
}
