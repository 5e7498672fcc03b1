//go:build unix

package command

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bip324proxy/status"
)

// The command status prints the page's report, as text and as JSON.
func TestStatusCommand(t *testing.T) {
	node := v2Node(t)
	p := startProgram(t, "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--peer", "127.0.0.1:0="+node)
	page := ""
	var addrs []string
	for len(addrs) < 2 || page == "" {
		line := p.nextOf(t, "listening", "status page")
		if line["msg"] == "status page" {
			page = line["addr"].(string)
		} else {
			addrs = append(addrs, line["addr"].(string))
		}
	}
	nc, err := net.Dial("tcp", addrs[1])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write([]byte("\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5d\xf6\xe0\xe2")) // without fields: enough for the proxy
	p.next(t, "session opened")

	for _, args := range [][]string{{"status", page}, {"status", "--status", page}, {"--status", page, "status"}} {
		code, stdout, stderr := runProgram(args...)
		if code != 0 || stderr != "" ||
			!strings.HasPrefix(stdout, "Is my Bitcoin traffic encrypted?\nYes: 1 encrypted, none in plaintext.\n1 encrypted (v2), 0 plaintext (v1), 0 passed through, 0 failed\nbip324-proxy ") ||
			!strings.Contains(stdout, "  v2         mainnet  "+node+"  ") {
			t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	_, table, _ := runProgram("status", page)
	code, stdout, _ := runProgram("status", "--json", page)
	var report status.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 || len(report.Sessions) != 1 || len(report.Sessions[0].SessionID) != 64 {
		t.Errorf("exit code %d, %v\n%s", code, err, stdout)
	}
	if id := fmt.Sprintf("\n%d  %s  %s\n", report.Sessions[0].Number, report.Sessions[0].SessionID, node); !strings.HasSuffix(table, id) {
		t.Errorf("want %q at the end of\n%s", id, table)
	}
	if _, stdout, _ := runProgram("check", "--listen", addrs[0], "--status", page, "--v1-fallback", "always"); !strings.Contains(
		strings.Join(strings.Fields(stdout), " "), `the running proxy has other settings: v1-fallback is "never" there, "always" here ->`) {
		t.Error(stdout)
	}
	if _, stdout, _ := runProgram("check", "--listen", addrs[0], "--peer", addrs[1]+"="+node, "--status", page); strings.Count(stdout, "\nok       listener ") != 2 ||
		!strings.Contains(stdout, "\nok       status         "+page+": the status page answers") {
		t.Error(stdout)
	}
}

// The command status takes the token from the proxy's settings.
func TestStatusToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--status-token-file", file)
	line := p.nextOf(t, "listening", "status page")
	if line["msg"] != "status page" {
		line = p.nextOf(t, "status page")
	}
	page := line["addr"].(string)
	if code, stdout, stderr := runProgram("status", "--status-token-file", file, page); code != 0 || !strings.HasPrefix(stdout, "Is my") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr := runProgram("status", "--watch", page)
	if code != 1 || stdout != "" {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	checkOneLine(t, "no token", stderr, "requires a token; give the proxy's with --status-token-file FILE")
}

// The command status, given the address for clients, says where the status page usually is.
func TestStatusOfListener(t *testing.T) {
	clients := startProgram(t, "--listen", "127.0.0.1:0").nextOf(t, "listening")["addr"].(string)
	code, stdout, stderr := runProgram("--listen", clients, "status", clients)
	if code != 1 || stdout != "" {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	checkOneLine(t, "the address for clients", stderr, "? It is the address for clients; the status page is usually at "+usualPage)
}

// The log reports a client whose proxy is set to the status page's address, with the right address;
// the client's own address is included only if addresses are logged.
func TestSOCKSClientOfStatusPage(t *testing.T) {
	for _, show := range []bool{true, false} {
		p := startProgram(t, "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0=127.0.0.1:9", "--status", "127.0.0.1:0", fmt.Sprintf("--log-addresses=%t", show))
		var page string
		var listening []string
		for len(listening) < 2 || page == "" {
			line := p.nextOf(t, "listening", "status page")
			if line["msg"] == "status page" {
				page = line["addr"].(string)
			} else {
				listening = append(listening, line["addr"].(string))
			}
		}
		nc, err := net.Dial("tcp", page)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write([]byte{5, 1, 0})
		line := p.next(t, "a SOCKS client connected to the status page; set its proxy to an address of --listen instead")
		if client, shown := line["client"]; shown != show || show && client != nc.LocalAddr().String() {
			t.Errorf("--log-addresses=%t: the line has the client %v, want %v", show, client, nc.LocalAddr())
		}
		if line["level"] != "WARN" || line["listen"] != listening[0] {
			t.Errorf("the line is %v, want a warning with %s", line, listening[0])
		}
	}
}

func TestStatusWrongInput(t *testing.T) {
	for args, says := range map[string]string{
		"status nowhere":               `status: "nowhere" is not a valid address`,
		"status 127.0.0.1:1325 more":   `status takes one argument, [ADDRESS]; remove "more"`,
		"status 127.0.0.1:1325 --json": "write --json before 127.0.0.1:1325",
		"status --json --watch":        "--json and --watch exclude each other",
	} {
		code, stdout, stderr := runProgram(strings.Fields(args)...)
		if code != 2 || stdout != "" {
			t.Errorf("%s: exit code %d, want 2; printed %q", args, code, stdout)
		}
		checkOneLine(t, args, stderr, says)
	}
}

// Ctrl-C stops a check that waits for a peer.
func TestCheckInterrupted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "check", l.Addr().String())
	cmd.Env = append(os.Environ(), "TEST_BIP324_PROXY_MAIN=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	nc, err := l.Accept() // and stay silent
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	began := time.Now()
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || time.Since(began) > 10*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
	checkOneLine(t, "a check that was interrupted", stderr.String(), "interrupted")
}
