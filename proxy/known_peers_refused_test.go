package proxy_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport/fallback"
)

// Bitcoin Core's own v2 attempt is passed through and cut. Core comes back in v1, which
// --v1-fallback always allows; v2 is tried once more before that.
func TestCoreRetry(t *testing.T) {
	t.Parallel()
	for _, end := range []ending{fin, rst} {
		t.Run("v1 peer/"+end.name, func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
			e.net.peer(clearnet, cutPeer(t, 0, end))
			wantV2Cut(t, e, clearnet)
			if known := e.server.Dialer.Peers.Lookup(clearnet); known != fallback.RefusedV2 {
				t.Errorf("after the cut the peer is known as %v", known)
			}
			got := make(chan []byte, 1)
			e.net.peer(clearnet, v1Only(end, got))
			client := e.connect(clearnet)
			client.Write(v1Message(mainnet, "version", version))
			e.wantV1(t, client, clearnet, got)
			if n := e.net.dialled(clearnet); n != 4 {
				t.Errorf("dialled %d times, want twice for the clients, once for v2 and once for v1", n)
			}
			if known := e.server.Dialer.Peers.Lookup(clearnet); known != fallback.SpeaksV1 {
				t.Errorf("after its v1 answer the peer is known as %v", known)
			}
		})
		t.Run("busy peer/"+end.name, func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
			e.net.tap = true
			e.net.peer(clearnet, cutPeer(t, 0, end))
			wantV2Cut(t, e, clearnet)
			e.net.peer(clearnet, func(nc *net.TCPConn, dial int) {
				if dial == 2 {
					waitForEnd(nc) // unused: a new connection is made after a moment
					return
				}
				cutPeer(t, flightSize, fin)(nc, dial)
			})
			client := e.connect(clearnet)
			client.Write(v1Message(mainnet, "version", version))
			wantClosed(t, client)
			client.Close()
			wantAttrs(t, e.wantEnd(client, "closed", "the peer"), logLine{"transport": "v2"})
			for _, conn := range e.net.sent(clearnet) {
				wantNoPlaintext(t, clearnet, bytes.Join(conn, nil))
			}
		})
		t.Run("full peer/"+end.name, func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
			e.net.peer(clearnet, cutPeer(t, 0, end))
			wantV2Cut(t, e, clearnet)
			e.net.peer(clearnet, func(nc *net.TCPConn, _ int) { nc.Read(make([]byte, 8192)); end.do(nc) })
			client := e.connect(clearnet)
			client.Write(v1Message(mainnet, "version", version))
			wantClosed(t, client)
			client.Close()
			e.end(client)
			if n := e.net.dialled(clearnet); n != 4 {
				t.Errorf("dialled %d times, want twice for the clients, once for v2 and once for v1", n)
			}
			if known := e.server.Dialer.Peers.Lookup(clearnet); known != fallback.RefusedV2 {
				t.Errorf("a peer that never answered is known as %v", known)
			}
		})
		t.Run("proven v2/"+end.name, func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
			e.net.tap = true
			e.server.Dialer.Peers.Note(clearnet, fallback.SpeaksV2)
			e.net.peer(clearnet, cutPeer(t, 0, end))
			wantV2Cut(t, e, clearnet)
			client := e.connect(clearnet)
			client.Write(v1Message(mainnet, "version", version))
			wantClosed(t, client)
			e.wantEnd(client, "refused", reasonAfter(0, end))
			for _, conn := range e.net.sent(clearnet) {
				wantNoPlaintext(t, clearnet, bytes.Join(conn, nil))
			}
			if n := e.net.dialled(clearnet); n != 2 {
				t.Errorf("dialled %d times", n)
			}
		})
	}
}

// Passthroughs that are not refusals of v2.
func TestNoRefusal(t *testing.T) {
	t.Parallel()
	hello := randomBytes(100, 1)
	atEnd := func(end ending) func(*net.TCPConn) { // of the client's stream
		return func(nc *net.TCPConn) { io.Copy(io.Discard, nc); end.do(nc) }
	}
	for name, c := range map[string]struct {
		fallback fallback.Mode
		says     []byte
		peer     func(nc *net.TCPConn)
		client   func(nc net.Conn)
	}{
		"never":                   {fallback.Never, hello, rst.do, hangUp},
		"overlay":                 {fallback.Overlay, hello, rst.do, hangUp},
		"too little said":         {fallback.Always, hello[:23], fin.do, waitForEnd},
		"a byte answered":         {fallback.Always, hello, func(nc *net.TCPConn) { nc.Write([]byte{1}); hangUp(nc) }, waitForEnd},
		"client hangs up, closed": {fallback.Always, hello, atEnd(fin), hangUp},
		"client hangs up, reset":  {fallback.Always, hello, atEnd(rst), hangUp},
		"client resets":           {fallback.Always, hello, atEnd(fin), reset},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: c.fallback, Peers: new(fallback.Peers)}}})
			e.net.peer(clearnet, func(nc *net.TCPConn, _ int) {
				io.ReadFull(nc, make([]byte, len(c.says)))
				c.peer(nc)
			})
			client := e.connect(clearnet)
			client.Write(c.says)
			c.client(client)
			client.Close()
			e.end(client)
			if known := e.server.Dialer.Peers.Lookup(clearnet); known != fallback.SpeaksUnknown {
				t.Errorf("the peer is known as %v", known)
			}
		})
	}
}

// waitForEnd is a client that stays as long as the peer.
func waitForEnd(nc net.Conn) { io.Copy(io.Discard, nc) }
