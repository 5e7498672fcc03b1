package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// A peer is proven v2 as node.example, then an attacker cuts its connections. Under no spelling, no
// other name and not by its address is it sent a byte of v1.
func TestProvenInEverySpelling(t *testing.T) {
	var cutting atomic.Bool
	p := newPlace(t, func(nc *net.TCPConn, n int) {
		if !cutting.Load() {
			cutPeer(t, flightSize, fin)(nc, n)
			return
		}
		b := make([]byte, 8192)
		read, _ := nc.Read(b)
		wantNoPlaintext(t, nc.LocalAddr().String(), b[:read])
		reset(nc)
	})
	resolver(t, func(int) []netip.Addr { return []netip.Addr{p.good} })
	e := startDirect(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
	session := func(host string) net.Conn {
		client := e.connect(p.addr(host))
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		client.Close()
		return client
	}
	e.wantEnd(session("node.example"), "closed", "the peer")
	cutting.Store(true)
	for _, host := range []string{"node.example", "NODE.example", "node.example.", "other.example", "127.0.0.1", "::ffff:127.0.0.1"} {
		came := p.came.Load()
		line := e.end(session(host))
		if hint, _ := line["hint"].(string); line["msg"] != "session refused" || !strings.Contains(hint, "it has spoken v2 before") && line["level"] != "DEBUG" {
			t.Errorf("%s: the log says %v", host, line)
		}
		if n := p.came.Load() - came; n != 1 {
			t.Errorf("%s: %d connections, want 1", host, n)
		}
	}
}

// With an upstream proxy, connections lead to the proxy: its address is not a peer's, and proving
// one peer v2 proves nothing about another.
func TestUpstreamIsNoPeer(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	peers := new(fallback.Peers)
	e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: peers, Direct: true}}})
	const v1, v2 = "old.invalid:8333", "new.invalid:8333"
	e.net.peer(v2, cutPeer(t, flightSize, fin))
	client := e.connect(v2)
	client.Write(v1Message(mainnet, "version", version))
	wantClosed(t, client)
	client.Close()
	e.wantEnd(client, "closed", "the peer")
	got := e.v1Node(t, v1, fin)
	client = e.connect(v1)
	client.Write(v1Message(mainnet, "version", version))
	e.wantV1(t, client, v1, got)
	for addr, want := range map[string]fallback.Speaks{
		v1: fallback.SpeaksV1, v2: fallback.SpeaksV2, u.Address: fallback.SpeaksUnknown} {
		if known := peers.Lookup(addr); known != want {
			t.Errorf("%s is known as %v, want %v", addr, known, want)
		}
	}
}

// The 30 days of a v2 note begin when the session ends, even if the proxy ends it.
func TestSessionEndRenewsNote(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"client", "proxy"} {
		peers := new(fallback.Peers)
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Peers: peers}}})
		e.net.peer(clearnet, v2Peer(func(c *transport.Conn) {
			for _, err := c.ReadPacket(); err == nil; {
				_, err = c.ReadPacket()
			}
		}))
		client := e.connect(clearnet)
		client.Write(v1Message(mainnet, "version", version))
		for lines, more := e.logs.of(client.LocalAddr()); len(lines) == 0; lines, more = e.logs.of(client.LocalAddr()) {
			receive(t, more, "the session to open")
		}
		if known := peers.Lookup(clearnet); known != fallback.SpeaksV2 {
			t.Errorf("during the session the peer is known as %v", known)
		}
		for i := 0; peers.Lookup(fmt.Sprintf("h:%d", i)) == fallback.SpeaksUnknown && i < 10_000; i++ { // evicts the note, as 30 days would expire it
			peers.Note(fmt.Sprintf("h:%d", i), fallback.SpeaksV2)
		}
		if known := peers.Lookup(clearnet); known != fallback.SpeaksUnknown {
			t.Fatalf("the note was not evicted: %v", known)
		}
		if how == "proxy" {
			e.server.Close()
		}
		client.Close()
		e.wantEnd(client, "closed", "the "+how)
		if known := peers.Lookup(clearnet); known != fallback.SpeaksV2 {
			t.Errorf("after the %s ended the session, the peer is known as %v", how, known)
		}
	}
}

// A v1 session with a peer that is known as v1 does not renew the note, or v2 would never be tried
// with it again.
func TestV1SessionsDoNotRenewNote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers")
	date := time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)
	line := clearnet + " v1 " + date + "\n"
	if err := os.WriteFile(path, []byte("bip324 known peers 1\n"+line), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e := startRemembering(t, fallback.Always, path)
		got := make(chan []byte, 1)
		e.net.peer(clearnet, func(nc *net.TCPConn, _ int) { got <- speakV1(nc) })
		for range 2 {
			client := e.connect(clearnet)
			client.Write(v1Message(mainnet, "version", version))
			e.wantV1(t, client, clearnet, got)
		}
		if n := e.net.dialled(clearnet); n != 2 {
			t.Errorf("dialled %d times for 2 sessions, want 2", n)
		}
		e.server.Close()
		if err := e.server.Dialer.Peers.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte(line)) {
			t.Errorf("the file has\n%s%v", b, err)
		}
	}
}

// While a session whose v2 attempt was cut dials for v1, another proves the peer v2.
func TestProvenBeforeVersionInV1(t *testing.T) {
	t.Parallel()
	peers := new(fallback.Peers)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: peers}}})
	e.net.tap = true
	hold, dialled := make(chan struct{}), make(chan struct{})
	e.net.peer(clearnet, func(nc *net.TCPConn, dial int) {
		if dial > 2 {
			close(dialled)
			io.Copy(io.Discard, nc)
			return
		}
		nc.Read(make([]byte, 8192))
		if dial == 1 {
			reset(nc)
			return
		}
		e.net.mu.Lock()
		e.net.hold = hold
		e.net.mu.Unlock()
		reset(nc)
	})
	client := e.connect(clearnet)
	client.Write(v1Message(mainnet, "version", version))
	receive(t, dialled, "the connection for v1")
	peers.Note(clearnet, fallback.SpeaksV2)
	close(hold)
	wantClosed(t, client)
	line := e.wantEnd(client, "refused", "hung up during the v2 handshake")
	if hint, _ := line["hint"].(string); !strings.Contains(hint, "it has spoken v2 before") {
		t.Errorf("got the hint %q", hint)
	}
	for _, conn := range e.net.sent(clearnet) {
		wantNoPlaintext(t, clearnet, bytes.Join(conn, nil))
	}
}

// The log folds refusals by canonical destination, not by its spelling.
func TestFoldedBySpelling(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	for i, dest := range []string{"node.invalid:8333", "NODE.invalid:8333", "node.invalid.:8333"} {
		client := e.dial()
		if code, err := ask(client, dest); code == 0 || err != nil {
			t.Errorf("reply %d, %v", code, err)
		}
		client.Close()
		if line := e.end(client); (line["level"] == "INFO") != (i == 0) || line["dest"] != dest {
			t.Errorf("the log says %v", line)
		}
	}
}
