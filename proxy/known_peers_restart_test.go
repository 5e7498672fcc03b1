package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport/fallback"
)

// Peers are proven v2. The proxy restarts, and from now on an attacker cuts every v2 attempt or
// drops it. No v1 byte is sent under any policy, even if the file was damaged in between.
func TestProvenV2SurvivesRestart(t *testing.T) {
	t.Parallel()
	damages := map[string]func([]byte) []byte{
		"intact":               func(b []byte) []byte { return b },
		"without a first line": func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] },
		"of another version":   func(b []byte) []byte { return append([]byte("bip324 known peers 2"), b[bytes.IndexByte(b, '\n'):]...) },
		"with a torn end":      func(b []byte) []byte { return append(b, "[fc00::9]:8333 v"...) },
		"with zeros behind":    func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
	}
	for _, mode := range []fallback.Mode{fallback.Never, fallback.Overlay, fallback.Always} {
		for damage, do := range damages {
			if mode != fallback.Always && damage != "intact" {
				continue
			}
			t.Run(fmt.Sprintf("%v/%s", mode, damage), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "peers")
				provePeers(t, mode, path)
				b, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path, do(b), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				attackPeers(t, mode, path)
			})
		}
	}
}

// provenPeers are destinations at which each policy but never allows v1 to an unknown peer, each
// with its attacker.
var provenPeers = map[string]ending{"[fc00::1]:8333": fin, "[fc00::2]:8333": rst, "[fc00::3]:8333": stall}

// provePeers runs a proxy that speaks v2 with each of provenPeers, and closes it.
func provePeers(t *testing.T, mode fallback.Mode, path string) {
	e := startRemembering(t, mode, path)
	for dest := range provenPeers {
		e.net.peer(dest, cutPeer(t, flightSize, fin))
		client := e.connect(dest)
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		client.Close()
		e.wantEnd(client, "closed", "the peer")
	}
	e.server.Close()
	if err := e.server.Dialer.Peers.Close(); err != nil {
		t.Fatal(err)
	}
}

// attackPeers makes clients connect to provenPeers several times, each time without success.
func attackPeers(t *testing.T, mode fallback.Mode, path string) {
	const sessions = 3 // with each
	e := startRemembering(t, mode, path)
	e.net.tap = true
	var dests []string
	for dest, end := range provenPeers {
		dests = append(dests, dest)
		e.net.peer(dest, cutPeer(t, 0, end))
	}
	each(sessions*len(dests), sessions*len(dests), func(i int) {
		dest := dests[i%len(dests)]
		client := e.connect(dest)
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		line := e.wantEnd(client, "refused", reasonAfter(0, provenPeers[dest]))
		if hint, _ := line["hint"].(string); !strings.Contains(hint, "it has spoken v2 before") {
			t.Errorf("%s: hint %q", dest, hint)
		}
	})
	for _, dest := range dests {
		conns := e.net.sent(dest)
		if len(conns) != sessions {
			t.Errorf("%s was dialled %d times for %d sessions", dest, len(conns), sessions)
		}
		for _, conn := range conns {
			wantNoPlaintext(t, dest, bytes.Join(conn, nil))
		}
	}
	if err := e.server.Dialer.Peers.Close(); err != nil {
		t.Error(err)
	}
}

// cutOnly reads once and hangs up.
func cutOnly(nc *net.TCPConn, _ int) {
	nc.Read(make([]byte, 8192))
	hangUp(nc)
}

// startRemembering starts a proxy with the known-peers file at path.
func startRemembering(t *testing.T, mode fallback.Mode, path string) *env {
	t.Helper()
	peers, err := fallback.OpenPeers(path)
	var corrupt *fallback.CorruptPeersError
	if err != nil && !errors.As(err, &corrupt) {
		t.Fatal(err)
	}
	return start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{
		Mode: mode, Peers: peers,
		FirstByteTimeout: time.Second, HandshakeTimeout: 2 * time.Second,
	}}})
}

// Without the known-peers file, a policy that allows v1 treats the peer as unknown. Under never
// nothing changes.
func TestMemoryLost(t *testing.T) {
	for _, c := range []struct {
		fallback fallback.Mode
		dials    int
	}{{fallback.Never, 1}, {fallback.Always, 3}} {
		path := filepath.Join(t.TempDir(), "peers")
		if err := os.WriteFile(path, randomBytes(5000, 1), 0o600); err != nil {
			t.Fatal(err)
		}
		e := startRemembering(t, c.fallback, path)
		e.net.tap = true
		e.net.peer(clearnet, cutOnly)
		client := e.connect(clearnet)
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		client.Close()
		e.end(client)
		conns := e.net.sent(clearnet)
		if len(conns) != c.dials {
			t.Fatalf("%v: %d connections, want %d", c.fallback, len(conns), c.dials)
		}
		wantNoPlaintext(t, clearnet, bytes.Join(conns[0], nil))
		if c.dials > 1 {
			wantNoPlaintext(t, clearnet, bytes.Join(conns[1], nil))
			if !bytes.Equal(bytes.Join(conns[2], nil), v1Message(mainnet, "version", version)) {
				t.Errorf("%v: the third connection had % x", c.fallback, conns[2])
			}
		}
		if err := e.server.Dialer.Peers.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A v1 peer is still known after a restart, and v2 is not tried with it.
func TestV1PeerSurvivesRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "peers")
	for restarts, dials := range []int{3, 1, 1} {
		e := startRemembering(t, fallback.Always, path)
		got := make(chan []byte, 1)
		e.net.peer(clearnet, func(nc *net.TCPConn, dial int) {
			if dial < dials {
				cutOnly(nc, dial)
				return
			}
			got <- speakV1(nc)
		})
		client := e.connect(clearnet)
		client.Write(v1Message(mainnet, "version", version))
		e.wantV1(t, client, clearnet, got)
		if n := e.net.dialled(clearnet); n != dials {
			t.Errorf("after %d restarts: dialled %d times, want %d", restarts, n, dials)
		}
		e.server.Close()
		if err := e.server.Dialer.Peers.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
