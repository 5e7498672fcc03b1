package test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/internal/testkit"
)

// btcd without a proxy setting, as the user, follows the chain of a node that speaks v2; each says what the other
// speaks.
func TestTransparentBtcd(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	w := newWorld(t)
	params := &chaincfg.RegressionNetParams
	script := func(uid int, name string, by ...string) (dir, path string) {
		dir = dirOf(t, uid)
		path = filepath.Join(dir, name)
		writeFile(t, path, "#!/bin/sh\nexport HOME="+dir+" LOCALAPPDATA="+dir+" APPDATA="+dir+"\nexec "+strings.Join(by, " ")+" '"+binaries.btcd+"' \"$@\"\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir, path
	}
	dir, path := script(0, "node", "ip", "netns", "exec", w.name)
	flags := []string{"--v2transport", traceSessions, "--miningaddr=" + newWallet(t, params).address.EncodeAddress()}
	for _, host := range worldHosts {
		flags = append(flags, "--listen="+net.JoinHostPort(host, params.DefaultPort))
	}
	const rpc = "127.0.0.1:18332" // there; btcd has none elsewhere without TLS
	node := startBtcdIn(t, dir, rpc, "node", path, params, flags...)
	node.rpc = "http://" + testkit.Serve(t, func(nc net.Conn) {
		var there net.Conn
		var err error
		inNetwork(t, w.name, func() { there, err = net.Dial("tcp", rpc) })
		if err != nil {
			t.Errorf("the node's RPC: %v", err)
			return
		}
		defer there.Close()
		go func() {
			io.Copy(there, nc)
			there.Close()
		}()
		io.Copy(nc, there)
	})
	node.mine = func(n int) []string { return ask[[]string](t, node, "generate", n) }
	node.mine(firstTip)

	mustShell(t, fmt.Sprintf("bip324-proxy transparent-rules --user %d --transparent 127.0.0.1:1326 --transparent [::1]:1326 | nft -f -", redirectedUser))
	p := startTransparent(t, proxyUser, onPage(t, "One user", "bip324-proxy --transparent"))
	for _, host := range worldHosts {
		dest := net.JoinHostPort(host, params.DefaultPort)
		dir, path := script(redirectedUser, "client", asUser(redirectedUser)...)
		client := startBtcdIn(t, dir, "127.0.0.1:0", "client", path, params, "--nolisten", "--connect="+dest)
		catchUp(t, client, node)
		followBlocks(t, client, node, 3)
		e := p.openedTo(t, dest)
		if e.Transport != "v2" {
			t.Errorf("%s: the session is on %s", dest, e.Transport)
		}
		node.awaitLine(t, "the session id "+e.SessionID, func(line string) bool { return strings.Contains(line, "session_id="+e.SessionID) })
		if peer := client.onlyPeer(t); peer.V2 {
			t.Errorf("to the client the node is %+v, want v1", peer)
		}
		client.kill()
	}
}
