package test

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

const setupSecret = "hunter2-never-print-this"

// startSetupProxy runs a proxy with a status page, and returns it with the flags that setup needs.
func startSetupProxy(t *testing.T, flags ...string) (*proxy, []string) {
	t.Helper()
	addr := freeAddr(t)
	same := append([]string{"--listen", addr, "--status", freeAddr(t)}, flags...)
	p := startProxy(t, same...)
	p.await(t, "listening at "+addr, func(e event) bool { return e.Msg == "listening" && e.Addr == addr })
	p.addr = addr
	return p, append([]string{"setup"}, same...)
}

// runSetup runs setup and returns its exit code and text. It requires that the text has no secret, and that the JSON
// says the same.
func runSetup(t *testing.T, args []string) (code int, text string) {
	t.Helper()
	code, text, stderr := run(t, args...)
	codeOfJSON, inJSON, _ := run(t, slices.Insert(slices.Clone(args), 1, "--json")...)
	if strings.Contains(text+stderr+inJSON, setupSecret) {
		t.Fatalf("a secret is in\n%s%s%s", text, stderr, inJSON)
	}
	var report struct {
		OK    bool
		Parts []struct{ Add, Remove []struct{ Text string } }
	}
	if err := json.Unmarshal([]byte(inJSON), &report); err != nil || code > 1 || report.OK != (codeOfJSON == 0) {
		t.Fatalf("exit codes %d, %d, %v\n%s%s\n%s", code, codeOfJSON, err, text, stderr, inJSON)
	}
	for _, p := range report.Parts {
		for _, l := range append(p.Add, p.Remove...) {
			if code == codeOfJSON && !strings.Contains(text, "    "+l.Text) {
				t.Errorf("the text lacks %q:\n%s", l.Text, text)
			}
		}
	}
	return code, text
}

// applySetup changes the file as setup's text says, line by line.
func applySetup(t *testing.T, text, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(lf(content), "\n")
	var top, end string
	var to *string
	removed := regexp.MustCompile(`^    (.*\S) +\(line (\d+)\)$`)
	for line := range strings.SplitSeq(text, "\n") {
		code, isCode := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "  Remove from "+file+":"):
			to = nil
		case strings.HasPrefix(line, "  Write at the top of "+file), strings.HasPrefix(line, "  Create "+file+" with:"):
			to = &top
		case strings.HasPrefix(line, "  Write at the end of "+file):
			to = &end
		case removed.MatchString(line):
			m := removed.FindStringSubmatch(line)
			n, _ := strconv.Atoi(m[2])
			if strings.TrimSpace(lines[n-1]) != m[1] {
				t.Fatalf("line %d of %s is %q, not %q", n, file, lines[n-1], m[1])
			}
			lines[n-1] = ""
		case line != "" && line[0] != ' ':
			to = nil
		case isCode && to != nil:
			*to += code + "\n"
		}
	}
	if err := os.WriteFile(file, []byte(top+strings.Join(lines, "")+end), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventuallySetUp runs setup until nothing is left to do.
func eventuallySetUp(t *testing.T, args []string) (text string) {
	t.Helper()
	eventually(t, "setup finds everything right", func() bool {
		code, now := runSetup(t, args)
		text = now
		return code == 0
	})
	return text
}

// awaitV2Peer waits until the node's only peer speaks v2: a session opens a moment before both sides have each other's
// VERSION.
func awaitV2Peer(t *testing.T, node *node) {
	t.Helper()
	eventually(t, "the node's only peer speaks v2", func() bool {
		peers := ask[[]peer](t, node, "getpeerinfo")
		return len(peers) == 1 && (peers[0].V2 || peers[0].Transport == "v2")
	})
}

// startRelay runs a SOCKS proxy that connects to what it is asked for.
func startRelay(t *testing.T) (addr string, asked func() []askedUpstream) {
	t.Helper()
	return startUpstream(t, "127.0.0.1:0", false, func(dest string) played {
		return func(c *net.TCPConn) {
			to, err := net.Dial("tcp", dest)
			if err != nil {
				return
			}
			defer to.Close()
			go func() {
				io.Copy(to, c)
				to.Close()
			}()
			io.Copy(c, to)
		}
	})
}

// btcd with the lines that setup prints connects through the proxy, and setup reports its session. The proxy that btcd
// used before must become the upstream; until then setup prints no line that would make it connect directly.
func TestSetupBtcd(t *testing.T) {
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	upstream, asked := startRelay(t)
	file := filepath.Join(t.TempDir(), "btcd.conf")
	writeFile(t, file, "[Application Options]\n; mine\nrpcpass="+setupSecret+"\nproxyuser="+setupSecret+"\nproxy="+upstream+"\nproxypass="+setupSecret+"\n")

	_, args := startSetupProxy(t)
	code, text := runSetup(t, append(args, file))
	if code != 1 || strings.Contains(text, "Write at") || !strings.Contains(strings.Join(strings.Fields(text), " "), "proxy="+upstream+": neither bip324-proxy nor its upstream") {
		t.Errorf("without an upstream: exit code %d\n%s", code, text)
	}
	proxy, args := startSetupProxy(t, "--upstream", "socks5://"+upstream)
	args = append(args, file)
	code, text = runSetup(t, args)
	for _, want := range []string{"\n    proxy=" + upstream + "        (line 5)\n", "\n    proxy=" + proxy.addr + "\n"} {
		if code != 1 || !strings.Contains(text, want) {
			t.Errorf("exit code %d, want %q in\n%s", code, want, text)
		}
	}
	applySetup(t, text, file)
	startBtcd(t, "client", &chaincfg.RegressionNetParams, "--configfile="+file, "--connect="+node.p2p, "--nolisten",
		"--rpcpass="+rpcPassword, "--proxyuser=", "--proxypass=")
	text = eventuallySetUp(t, args)
	if !strings.Contains(strings.Join(strings.Fields(text), " "), "configured; 1 session: 1 v2") {
		t.Error(text)
	}
	awaitV2Peer(t, node)
	if len(asked()) == 0 {
		t.Error("the upstream was not asked")
	}
}

// Core with the lines that setup prints connects through the proxy; if it listened before, it still does.
func TestSetupCore(t *testing.T) {
	for _, c := range []struct {
		name    string
		conf    string // PORT is the node's, BIND an address to listen on
		want    string // the lines to write
		inbound bool
	}{
		{"outbound only", "[regtest]\nconnect=localhost:PORT\n", "proxy=PROXY noonion=1 v2transport=0", false},
		{"listens", "v2transport=0\n[regtest]\nbind=BIND\naddnode=localhost:PORT\n", "proxy=PROXY noonion=1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, node := startCoreNode(t)
			proxy, args := startSetupProxy(t)
			bind := freeAddr(t)
			conf := strings.NewReplacer("PORT", port(t, node.p2p), "BIND", bind).Replace(c.conf)
			dir := coreDir(t, "rpcauth=u:"+setupSecret+"$00\n"+conf, "")
			file := filepath.Join(dir, "bitcoin.conf")
			args = append(args, file)
			client := startBitcoind(t, "client", "-datadir="+dir)
			code, text := runSetup(t, args)
			if code != 1 || runtime.GOOS == "linux" && !strings.Contains(text, "process "+strconv.Itoa(client.cmd.Process.Pid)+" on regtest") {
				t.Fatalf("exit code %d\n%s", code, text)
			}
			var lines []string
			for line := range strings.SplitSeq(text, "\n") {
				if code, ok := strings.CutPrefix(line, "    "); ok && regexp.MustCompile(`^\w+=\S+$`).MatchString(code) {
					lines = append(lines, code)
				}
			}
			if got, want := strings.Join(lines, " "), strings.ReplaceAll(c.want, "PROXY", proxy.addr); got != want {
				t.Errorf("got the lines %s, want %s", got, want)
			}
			applySetup(t, text, file)
			if code, text := runSetup(t, args); runtime.GOOS == "linux" && (code != 1 || !strings.Contains(text, "-> restart it:")) {
				t.Errorf("before the restart: exit code %d\n%s", code, text)
			}
			client.kill()
			client = startBitcoind(t, "client", "-datadir="+dir)
			requireCoreProxy(t, client, proxy.addr, proxy.addr)
			text = eventuallySetUp(t, args)
			awaitV2Peer(t, node)
			conn, err := net.Dial("tcp", bind)
			if (err == nil) != c.inbound {
				t.Errorf("inbound connections: %v\n%s", err, text)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

// Core's proxy, if it is the proxy's upstream, gives way to the proxy, also for onion peers.
func TestSetupCoreUpstream(t *testing.T) {
	_, node := startCoreNode(t)
	upstream, asked := startRelay(t)
	proxy, args := startSetupProxy(t, "--upstream", "socks5://"+upstream)
	dir := coreDir(t, "proxy="+upstream+"\nlisten=1\n[regtest]\nbind="+freeAddr(t)+"\naddnode=localhost:"+port(t, node.p2p)+"\n", "")
	file := filepath.Join(dir, "bitcoin.conf")
	args = append(args, file)
	_, text := runSetup(t, args)
	applySetup(t, text, file)
	client := startBitcoind(t, "client", "-datadir="+dir)
	for _, network := range coreNetwork(t, client).Networks {
		if name := network.Name; (name == "ipv4" || name == "ipv6" || name == "onion") && network.Proxy != proxy.addr {
			t.Errorf("the proxy for %s is %q, want %q\n%s", name, network.Proxy, proxy.addr, text)
		}
	}
	eventuallySetUp(t, args)
	awaitV2Peer(t, node)
	if len(asked()) == 0 {
		t.Error("the upstream was not asked")
	}
}

// The status page of another proxy says nothing about the upstream of this one: there are no lines.
func TestSetupOtherPage(t *testing.T) {
	_, direct := startSetupProxy(t)
	through, _ := startSetupProxy(t, "--upstream", "socks5://"+freeAddr(t))
	file := filepath.Join(t.TempDir(), "bitcoin.conf")
	writeFile(t, file, "proxy="+through.addr+"\nonion="+through.addr+"\n")
	code, text := runSetup(t, []string{"setup", "--listen", through.addr, "--status", direct[slices.Index(direct, "--status")+1], file})
	words := strings.Join(strings.Fields(text), " ")
	if code != 1 || strings.Contains(text, "Write at") || !strings.Contains(words, "is that of another proxy, at "+direct[2]) || !strings.Contains(words, "setup prints no lines") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}
