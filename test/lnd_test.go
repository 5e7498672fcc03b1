package test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

const lndModule, lndSum = "github.com/lightningnetwork/lnd@v0.21.2-beta", "h1:fVG+rDlVPSKAGxfq0hMHXbS6f7KXKQIHhZ4SWMlVa18="

// lnd with its built-in neutrino follows a chain through the proxy as a v2 peer, configured by flags and by file. The
// one setting that docs/clients.md warns of makes it bypass the proxy.
func TestLnd(t *testing.T) {
	path := lndProgram(t)
	for _, c := range []struct {
		name  string
		flags bool // the recipe's flags; else its file
		skip  bool // tor.skip-proxy-for-clearnet-targets
	}{
		{name: "flags", flags: true},
		{name: "file"},
		{name: "around the proxy", skip: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
			node.mine(firstTip)
			proxy := startProxy(t)
			var flags []string
			conf := recipeAt(t, "lnd", "[Bitcoin]", proxy.addr)
			if c.flags {
				flags, conf = recipeArgs(t, "lnd", "lnd", proxy.addr), ""
			}
			if c.skip {
				conf = strings.Replace(conf, "clearnet-targets=false", "clearnet-targets=true", 1)
			}
			client := startLnd(t, path, conf, append(flags, "--neutrino.connect="+node.p2p)...)
			client.awaitTip(t, node, firstTip)
			if p := node.onlyPeer(t); p.V2 == c.skip {
				t.Errorf("to the node lnd is %+v, want v2: %t", p, !c.skip)
			}
			if c.skip {
				if slices.ContainsFunc(proxy.out.all(), func(line string) bool { return strings.Contains(line, "session opened") }) {
					t.Error("lnd uses the proxy, but docs/clients.md says that it bypasses it")
				}
				return
			}
			if opened := proxy.opened(t); opened.Transport != "v2" || opened.Dest != node.p2p {
				t.Errorf("the proxy logged %+v, want transport v2, dest %s", opened, node.p2p)
			}
			node.mine(5)
			client.awaitTip(t, node, firstTip+5)
		})
	}
	t.Run("onion", func(t *testing.T) {
		const onion = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion:18444"
		node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
		node.mine(firstTip)
		upstream, _ := startUpstream(t, "127.0.0.1:0", true, func(dest string) played {
			if dest != onion {
				return nil
			}
			return connectTo(node.p2p)
		})
		proxy := startProxy(t, "--upstream", "*.onion=socks5://"+upstream)
		client := startLnd(t, path, "", append(recipeArgs(t, "lnd", "lnd", proxy.addr), "--neutrino.connect="+onion)...)
		client.awaitTip(t, node, firstTip)
		if p, opened := node.onlyPeer(t), proxy.opened(t); !p.V2 || opened.Transport != "v2" || opened.Dest != onion {
			t.Errorf("to the node lnd is %+v, and the proxy logged %+v; want v2, dest %s", p, opened, onion)
		}
	})
}

// lndProgram returns the path of lnd, which takes minutes to build.
func lndProgram(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("LND"); path != "" {
		return path
	}
	if !long {
		notRun(t, "lnd is missing; LND=/path/to/lnd runs them, or LONG=1, which builds it")
	}
	path := filepath.Join(t.TempDir(), "lnd"+exe)
	if err := install(t, moduleSource(t, lndModule, lndSum), "go", "build", "-o", path, "./cmd/lnd"); err != nil {
		notRun(t, "lnd cannot be built: %v", err)
	}
	return path
}

// lnd is a running lnd.
type lnd struct {
	*program
	rest string // address of its REST server
}

// startLnd runs lnd on regtest with the text of an lnd.conf.
func startLnd(t *testing.T, path, conf string, flags ...string) *lnd {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lnd.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &lnd{rest: freeAddr(t)}
	l.program = start(t, "lnd", path, append([]string{"--lnddir=" + dir, "--bitcoin.regtest", "--noseedbackup",
		"--nolisten", "--no-macaroons", "--rpclisten=" + freeAddr(t), "--restlisten=" + l.rest}, flags...)...)
	return l
}

// awaitTip waits until lnd has the node's block at height.
func (l *lnd) awaitTip(t *testing.T, node *node, height int) {
	t.Helper()
	hash := ask[string](t, node, "getblockhash", height)
	eventually(t, fmt.Sprintf("lnd has block %d", height), func() bool {
		select {
		case <-l.done:
			t.Fatalf("lnd ended: %v", l.cmd.ProcessState)
		default:
		}
		got, err := l.bestBlock()
		return err == nil && got == hash
	})
}

func (l *lnd) bestBlock() (hash string, err error) {
	http := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is self-signed
	resp, err := http.Get("https://" + l.rest + "/v1/getinfo")
	if err != nil {
		return "", err
	}
	var info struct {
		Hash string `json:"block_hash"`
	}
	err = json.NewDecoder(resp.Body).Decode(&info)
	return info.Hash, errors.Join(err, resp.Body.Close())
}
