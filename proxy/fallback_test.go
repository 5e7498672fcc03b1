package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport/fallback"
)

const (
	clearnet = "192.0.2.1:8333"
	cjdns    = "[fc00::1]:8333"
	notCJDNS = "[fc00::2]:8333" // this host is not configured for CJDNS
)

// The ways in which a peer without v2 may end its first connection, and whether plaintext may
// follow.
func TestFallback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fallback fallback.Mode
		dest     string // of addresses in CJDNS's range, only cjdns qualifies
		end      ending
		v1       bool
	}{
		{fallback.Always, clearnet, fin, true},
		{fallback.Always, clearnet, rst, true},
		{fallback.Always, clearnet, stall, true},
		{fallback.Always, "node.example:8333", fin, true},
		{fallback.Overlay, cjdns, fin, true},
		{fallback.Overlay, cjdns, rst, true},
		{fallback.Overlay, cjdns, stall, true},
		{fallback.Overlay, clearnet, fin, false},
		{fallback.Overlay, clearnet, rst, false},
		{fallback.Overlay, clearnet, stall, false},
		{fallback.Overlay, "[fd00::1]:8333", fin, false},
		{fallback.Overlay, notCJDNS, fin, false},
		{fallback.Overlay, notCJDNS, stall, false},
		{fallback.Always, notCJDNS, fin, true},
		{fallback.Never, cjdns, fin, false},
		{fallback.Never, clearnet, fin, false},
	} {
		t.Run(fmt.Sprintf("%v/%s/%s", c.fallback, c.dest, c.end.name), func(t *testing.T) {
			server := &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: c.fallback, Peers: new(fallback.Peers)}, CJDNSReachable: c.dest != notCJDNS}}
			switch { // let only the intended one of two timers fire
			case c.end.name != stall.name:
				server.Dialer.FirstByteTimeout = time.Minute
			case c.v1:
				server.Dialer.FirstByteTimeout = 100 * time.Millisecond
			default:
				server.Dialer.HandshakeTimeout = 300 * time.Millisecond
			}
			e := start(t, server)
			e.net.tap = true
			got := e.v1Node(t, c.dest, c.end)
			client := e.connect(c.dest)
			client.Write(v1Message(mainnet, "version", version))
			if !c.v1 {
				wantClosed(t, client)
				e.wantEnd(client, "refused", reasonAfter(0, c.end))
				wantNoV1(t, e, c.dest)
				return
			}
			e.wantV1(t, client, c.dest, got)
			dials := 3 // v2, v2 again, v1
			if c.end.name == stall.name {
				dials = 2
			}
			if n := e.net.dialled(c.dest); n != dials {
				t.Errorf("dialled %d times, want %d", n, dials)
			}
			for _, conn := range e.net.sent(c.dest)[:dials-1] {
				wantNoPlaintext(t, "a connection for v2", bytes.Join(conn, nil))
			}

			// From now on the peer is known.
			client = e.connect(c.dest)
			client.Write(v1Message(mainnet, "version", version))
			e.wantV1(t, client, c.dest, got)
			if n := e.net.dialled(c.dest); n != dials+1 {
				t.Errorf("dialled %d times, want one more", n)
			}
		})
	}
}

// v1Node makes dest speak v1, and end connections that begin with anything else. The channel gets
// what it reads on each v1 connection.
func (e *env) v1Node(_ *testing.T, dest string, end ending) <-chan []byte {
	got := make(chan []byte, 4)
	e.net.peer(dest, v1Only(end, got))
	return got
}

func v1Only(end ending, got chan<- []byte) func(*net.TCPConn, int) {
	return func(nc *net.TCPConn, _ int) {
		var first [4]byte
		switch _, err := io.ReadFull(nc, first[:]); {
		case err != nil: // the connection was not used
		case first == mainnet:
			got <- speakV1(prefixed{nc, io.MultiReader(bytes.NewReader(first[:]), nc)})
		default:
			nc.Read(make([]byte, 8192))
			end.do(nc)
		}
	}
}

// prefixed is a connection with bytes that were read before.
type prefixed struct {
	net.Conn
	r io.Reader
}

func (p prefixed) Read(b []byte) (int, error) { return p.r.Read(b) }

// wantV1 completes the session of a client that has sent its VERSION to a v1Node, and checks that
// its bytes arrive unchanged and once.
func (e *env) wantV1(t *testing.T, client net.Conn, dest string, got <-chan []byte) {
	t.Helper()
	if name, payload, err := readV1(client); err != nil || name != "version" || string(payload) != "of the peer" {
		t.Errorf("got %s %q, %v", name, payload, err)
	}
	verack := v1Message(mainnet, "verack", nil)
	client.Write(verack)
	hangUp(client)
	client.Close()
	want := slices.Concat(v1Message(mainnet, "version", version), verack)
	if b := receive(t, got, "the peer"); !bytes.Equal(b, want) {
		t.Errorf("the peer received %q, want %q", b, want)
	}
	end := e.wantEnd(client, "closed", "both sides closed the connection")
	wantAttrs(t, end, logLine{"transport": "v1", "dest": dest, "bytes_to_peer": float64(len(want)), "bytes_to_client": 24.0 + 11})
	lines, _ := e.logs.of(client.LocalAddr())
	if cause, _ := lines[0]["cause"].(string); lines[0]["transport"] != "v1" || cause == "" {
		t.Errorf("no cause in the line %v", lines[0])
	}
	for _, line := range lines { // opened and closed
		if got, want := line["plaintext"], any(true); dest == cjdns && got != nil || dest != cjdns && got != want {
			t.Errorf("to %s: the log says %v", dest, line)
		}
	}
	if said := strings.Count(e.logs.text(), `"plaintext"`); said != strings.Count(e.logs.text(), `"transport":"v1","plaintext":true`) {
		t.Errorf("the log says %s", e.logs.text())
	}
}

// A peer that was too busy for v2 is not spoken to in v1 if it answers in v2 a moment later.
func TestBusyPeer(t *testing.T) {
	t.Parallel()
	for _, end := range []ending{fin, rst} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
		e.net.tap = true
		e.net.peer(clearnet, func(nc *net.TCPConn, dial int) {
			if dial == 1 {
				nc.Read(make([]byte, 8192))
				end.do(nc)
				return
			}
			cutPeer(t, flightSize, fin)(nc, dial)
		})
		client := e.connect(clearnet)
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		client.Close()
		wantAttrs(t, e.wantEnd(client, "closed", "the peer"), logLine{"transport": "v2"})
		if n := e.net.dialled(clearnet); n != 2 {
			t.Errorf("dialled %d times, want 2", n)
		}
		for _, conn := range e.net.sent(clearnet) {
			wantNoPlaintext(t, clearnet, bytes.Join(conn, nil))
		}
	}
}

// A peer that has once spoken v2 is never spoken to in v1.
func TestNoFallbackFromV2(t *testing.T) {
	t.Parallel()
	for _, end := range []ending{fin, rst} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
		e.net.tap = true
		e.net.peer(clearnet, func(nc *net.TCPConn, dial int) {
			if dial == 1 {
				cutPeer(t, flightSize, fin)(nc, dial)
			} else {
				cutPeer(t, 0, end)(nc, dial)
			}
		})
		for i, how := range []string{"closed", "refused", "refused"} {
			client := e.connect(clearnet)
			client.Write(v1Message(mainnet, "version", version))
			wantClosed(t, client)
			client.Close()
			e.wantEnd(client, how, "the peer")
			if n := e.net.dialled(clearnet); n != i+1 {
				t.Errorf("session %d: dialled %d times", i+1, n)
			}
		}
		for _, conn := range e.net.sent(clearnet) {
			wantNoPlaintext(t, clearnet, bytes.Join(conn, nil))
		}
	}
}

// A peer that hangs up on everything is dialled three times at most, and not recorded as a v1 peer.
func TestFullPeer(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
	e.net.peer(clearnet, func(nc *net.TCPConn, _ int) {
		nc.Read(make([]byte, 8192))
		hangUp(nc)
	})
	for i := range 2 {
		client := e.connect(clearnet)
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		client.Close()
		e.wantEnd(client, "closed", "")
		if n := e.net.dialled(clearnet); n != 3*(i+1) {
			t.Errorf("dialled %d times after %d sessions", n, i+1)
		}
	}
	if got := e.server.Dialer.Peers.Lookup(clearnet); got != fallback.SpeaksUnknown {
		t.Errorf("the peer is known as %v", got)
	}
}

// If the second connection cannot be made, the session ends.
func TestNoSecondConnection(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}}})
	e.net.peer(clearnet, func(nc *net.TCPConn, _ int) {
		e.net.peer(clearnet, nil)
		nc.Read(make([]byte, 8192))
		hangUp(nc)
	})
	client := e.connect(clearnet)
	client.Write(v1Message(mainnet, "version", version))
	wantClosed(t, client)
	wantAttrs(t, e.wantEnd(client, "refused", "the peer hung up"), logLine{"level": "INFO"}) // routine
	if n := e.net.dialled(clearnet); n != 2 {
		t.Errorf("dialled %d times", n)
	}
}

// In v1 the peer's first answer may come late.
func TestV1PeerAnswersLate(t *testing.T) {
	t.Parallel()
	peers := new(fallback.Peers)
	peers.Note(clearnet, fallback.SpeaksV1)
	server := &proxy.Server{
		Policy:            proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: peers}},
		FirstBytesTimeout: time.Second,
	}
	e := start(t, server)
	e.net.peer(clearnet, func(nc *net.TCPConn, _ int) {
		readV1(nc)
		<-time.After(2 * server.FirstBytesTimeout)
		nc.Write(v1Message(mainnet, "version", []byte("of the peer")))
		hangUp(nc)
	})
	client := e.connect(clearnet)
	client.Write(v1Message(mainnet, "version", version))
	if name, _, err := readV1(client); name != "version" || err != nil {
		t.Errorf("the peer's VERSION: got %q, %v", name, err)
	}
	hangUp(client)
	client.Close()
	e.wantEnd(client, "closed", "both sides closed the connection")
}
