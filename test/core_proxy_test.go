package test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Core's proxy settings. By default Core sends new credentials for each connection, so that Tor isolates them; with
// -proxyrandomize=0 it sends none. Both ways it syncs, and the node sees a v2 peer.
func TestCoreProxyCredentials(t *testing.T) {
	for _, c := range []struct {
		name, flag string
		greeting   []byte // RFC 1928: the methods that Core offers
	}{
		{"default", "-proxyrandomize=1", []byte{5, 2, 0, 2}},
		{"none", "-proxyrandomize=0", []byte{5, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, node := startCoreNode(t)
			proxy := startProxy(t)
			before := startRecorder(t, proxy.addr)
			client := startCoreClient(t, before.addr, node, c.flag)
			requireCoreSyncs(t, proxy, client, node)
			if toProxy, _ := before.connections()[0].bytes(); !bytes.HasPrefix(toProxy, c.greeting) {
				t.Errorf("Core's greeting is % x, want % x", toProxy[:min(8, len(toProxy))], c.greeting)
			}
		})
	}
}

// Core's proxy may be a unix socket.
func TestCoreProxyUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		notRun(t, "Core has no unix sockets on Windows")
	}
	_, node := startCoreNode(t)
	dir, err := os.MkdirTemp("", "") // t.TempDir may exceed the limit of about 100 bytes for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := "unix:" + filepath.Join(dir, "proxy")
	proxy := startProxy(t, "--listen", socket)
	client := startCoreClient(t, socket, node)
	requireCoreSyncs(t, proxy, client, node)
}

// requireCoreSyncs checks that a v1 client syncs with the node through the proxy, follows it, and is a v2 peer to it.
func requireCoreSyncs(t *testing.T, proxy *proxy, client, node *node) {
	t.Helper()
	catchUp(t, client, node)
	followBlocks(t, client, node, 3)
	opened := proxy.opened(t)
	if dest := "localhost:" + port(t, node.p2p); opened.Transport != "v2" || opened.Dest != dest {
		t.Errorf("the proxy logged %+v, want transport v2, dest %s", opened, dest)
	}
	if p := node.onlyPeer(t); p.Transport != "v2" || p.SessionID != opened.SessionID {
		t.Errorf("to the node the client is %+v, want a v2 peer with the proxy's session id %s", p, opened.SessionID)
	}
	if p := client.onlyPeer(t); p.Transport != "v1" {
		t.Errorf("the client does not speak v1, so this test proves nothing: %+v", p)
	}
}
