package test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// Electrum speaks its own protocol to its own servers. The proxy passes it through, in plaintext and over TLS, byte for
// byte.
func TestElectrum(t *testing.T) {
	t.Parallel()
	path := os.Getenv("ELECTRUM")
	if path == "" {
		var err error
		if path, err = exec.LookPath("electrum"); err != nil {
			notRun(t, "Electrum is missing; apt-get install electrum, or ELECTRUM=/path/to/electrum runs them")
		}
	}
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams))
	node.mine(110)
	for _, c := range []struct {
		name, protocol string
		plain          string // readable to an eavesdropper, if anything
	}{
		{"plain", "t", `"blockchain.headers.subscribe"`},
		{"TLS", "s", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy := startProxy(t)
			server := startElectrumServer(t, node, c.protocol == "s")
			behind := startRecorder(t, server.addr)
			before := startRecorder(t, proxy.addr)
			client := startElectrum(t, path, before.addr, behind.addr, c.protocol)

			var info struct {
				Version   string `json:"version"`
				Connected bool   `json:"connected"`
				Height    int    `json:"blockchain_height"`
			}
			eventually(t, "Electrum has the chain", func() bool {
				info = ask[struct {
					Version   string `json:"version"`
					Connected bool   `json:"connected"`
					Height    int    `json:"blockchain_height"`
				}](t, client, "getinfo")
				return info.Connected && info.Height == 110
			})
			t.Logf("Electrum %s has %d blocks", info.Version, info.Height)
			if opened := proxy.opened(t); opened.Transport != "passthrough" {
				t.Errorf("the proxy logged %+v, want transport passthrough", opened)
			}
			throughProxy := slices.DeleteFunc(before.connections(), func(r *recording) bool { return !asksToConnect(r) })
			for i, conn := range behind.connections() {
				eventually(t, "both recorders hold the same bytes", func() bool { // some may be in flight
					toProxy, fromProxy := withoutSOCKS(t, throughProxy[i])
					toServer, fromServer := conn.bytes()
					return bytes.Equal(toProxy, toServer) && bytes.Equal(fromProxy, fromServer)
				})
			}
			toServer, _ := behind.last().bytes()
			if !bytes.Contains(toServer, []byte(c.plain)) {
				t.Errorf("the server got no %s", c.plain)
			}
		})
	}
}

// asksToConnect reports whether a connection to the proxy has a SOCKS request to connect. Electrum also makes one with
// Tor's RESOLVE, to learn whether its proxy is Tor.
func asksToConnect(r *recording) bool {
	toProxy, _ := r.bytes()
	if len(toProxy) < 2 {
		return false
	}
	command := 2 + int(toProxy[1]) + 1 // after VER NMETHODS METHODS and VER
	return len(toProxy) > command && toProxy[command] == 1
}

// startElectrum runs Electrum's daemon, without a wallet, with one server, reached through the SOCKS proxy that the
// commands of docs/clients.md set.
func startElectrum(t *testing.T, path, proxyAddr, server, protocol string) *node {
	t.Helper()
	dir := t.TempDir()
	rpc := freeAddr(t)
	config, err := json.Marshal(map[string]any{
		"rpchost": "127.0.0.1", "rpcport": port(t, rpc), "rpcuser": rpcUser, "rpcpassword": rpcPassword,
		"server":    "LOCALHOST:" + port(t, server) + ":" + protocol, // Electrum bypasses the proxy for "localhost"
		"oneserver": true, "auto_connect": false, "check_updates": false, "use_exchange_rate": false,
		"config_version": 3, // an older one would be converted, and switched to TLS
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "regtest"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{dir, filepath.Join(dir, "regtest")} { // old and new versions
		if err := os.WriteFile(filepath.Join(where, "config"), config, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commands := recipeAt(t, "Electrum", "electrum --offline setconfig proxy", proxyAddr)
	for line := range strings.Lines(commands) {
		args := append(strings.Fields(line)[1:], "--regtest", "--dir", dir)
		start(t, "electrum setconfig", path, args...).awaitEnd(t)
	}
	n := &node{rpc: "http://" + rpc}
	n.program = start(t, "electrum", path, "daemon", "--regtest", "--dir", dir, "-v")
	eventually(t, "Electrum answers RPC", func() bool {
		select {
		case <-n.done:
			t.Fatalf("electrum ended: %v", n.cmd.ProcessState)
		default:
		}
		var info any
		return n.call(&info, "getinfo") == nil
	})
	return n
}
