package proxy_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport/fallback"
)

// eagerV1 is a v1 node that sends VERSION first, and then reads until the end.
func eagerV1(got chan<- []byte) func(*net.TCPConn, int) {
	return func(nc *net.TCPConn, _ int) {
		nc.Write(v1Message(mainnet, "version", []byte("of the peer")))
		b, _ := io.ReadAll(nc)
		got <- b
	}
}

// What a v1 node sends before the client's VERSION is kept until that arrives, and the client
// receives it, once, on the first connection.
func TestV1PeerSpeaksFirst(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, 300 * time.Millisecond} { // after the peer's data has been read
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
		got := make(chan []byte, 1)
		e.net.peer(clearnet, eagerV1(got))
		for dials := range 2 {
			client := e.connect(clearnet)
			time.Sleep(200*time.Millisecond + wait)
			client.Write(v1Message(mainnet, "version", version))
			e.wantV1First(t, client, got)
			if n := e.net.dialled(clearnet); n != dials+1 {
				t.Errorf("dialled %d times", n)
			}
		}
		if n := e.server.Snapshot().Fallbacks["spoke_v1"]; n == 0 {
			t.Error("the fallback was not counted")
		}
	}
}

func (e *env) wantV1First(t *testing.T, client net.Conn, got <-chan []byte) {
	t.Helper()
	if name, payload, err := readV1(client); err != nil || name != "version" || string(payload) != "of the peer" {
		t.Errorf("got %s %q, %v", name, payload, err)
	}
	hangUp(client)
	client.Close()
	if b := receive(t, got, "the peer"); !bytes.Equal(b, v1Message(mainnet, "version", version)) {
		t.Errorf("the peer received %d bytes", len(b))
	}
	wantAttrs(t, e.wantEnd(client, "closed", "both sides"), logLine{"transport": "v1", "bytes_to_client": 24.0 + 11})
}

// In strict mode, or if the peer is proven v2, such a node is sent no plaintext.
func TestV1PeerSpeaksFirstRefused(t *testing.T) {
	t.Parallel()
	proven := new(fallback.Peers)
	proven.Note(clearnet, fallback.SpeaksV2)
	for _, d := range []fallback.Dialer{{}, {Mode: fallback.Always, Peers: proven}} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: d}})
		got := make(chan []byte, 1)
		e.net.peer(clearnet, eagerV1(got))
		client := e.connect(clearnet)
		time.Sleep(50 * time.Millisecond) // the peer's VERSION has most likely arrived
		client.Write(v1Message(mainnet, "version", version))
		wantClosed(t, client)
		line := e.wantEnd(client, "refused", "the peer speaks v1: it sent a VERSION of mainnet")
		if line["hint"] == nil {
			t.Error("no hint in the line")
		}
		wantNoPlaintext(t, clearnet, receive(t, got, "the peer"))
	}
}

// Without a v1 client, the peer's VERSION is kept no longer than a client may be silent; a client
// of another protocol receives it.
func TestV1PeerAndOtherClients(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{FirstBytesTimeout: time.Second})
	got := make(chan []byte, 1)
	e.net.peer(clearnet, eagerV1(got))
	client := e.connect(clearnet)
	wantClosed(t, client)
	e.wantEnd(client, "refused", "the client said nothing")
	receive(t, got, "the peer")

	client = e.connect(clearnet)
	client.Write([]byte("hello, not v1"))
	if name, _, err := readV1(client); name != "version" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	hangUp(client)
	e.wantEnd(client, "closed", "both sides")
	if b := receive(t, got, "the peer"); string(b) != "hello, not v1" {
		t.Errorf("the peer received %q", b)
	}
}
