package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport/fallback"
)

// Where peers that speak v1 may come in, and whether anyone can read what they say.
func TestInboundV1(t *testing.T) {
	t.Parallel()
	const public, tor, unreachable = "203.0.113.9:4444", "127.0.0.1:4444", "[fc00::9]:4444"
	for _, c := range []struct {
		mode      fallback.Mode
		cjdns     bool
		from      string
		in, plain bool
	}{
		{mode: fallback.Never, from: public},
		{mode: fallback.Never, from: tor},
		{mode: fallback.Never, from: unreachable, cjdns: true},
		{mode: fallback.Overlay, from: public},
		{mode: fallback.Overlay, from: "10.1.2.3:4444"},
		{mode: fallback.Overlay, from: tor, in: true},
		{mode: fallback.Overlay, from: "[::1]:4444", in: true},
		{mode: fallback.Overlay, from: "[::ffff:127.0.0.1]:4444", in: true},
		{mode: fallback.Overlay, from: unreachable},
		{mode: fallback.Overlay, from: unreachable, cjdns: true, in: true},
		{mode: fallback.Always, from: public, in: true, plain: true},
		{mode: fallback.Always, from: tor, in: true},
		{mode: fallback.Always, from: unreachable, in: true, plain: true},
		{mode: fallback.Always, from: unreachable, cjdns: true, in: true},
	} {
		t.Run(fmt.Sprintf("%v/%s/cjdns=%t", c.mode, c.from, c.cjdns), func(t *testing.T) {
			t.Parallel()
			e := start(t, &proxy.Server{Policy: proxy.Policy{InboundV1: c.mode, CJDNSReachable: c.cjdns}})
			addr, nodes := e.serveNode(t, c.from)
			peer := e.dialTo(addr)
			message := v1Message(mainnet, "version", version)
			peer.Write(message)
			if !c.in {
				wantClosed(t, peer)
				e.until("its end", func(s proxy.Snapshot) bool { return s.Inbound.Pending == 0 })
				if len(nodes) > 0 {
					t.Error("the node was connected to")
				}
				return
			}
			node := receive(t, nodes, "the node")
			wantRead(t, "the node", node, message)
			s := e.until("the session", func(s proxy.Snapshot) bool {
				return len(s.Sessions) == 1 && s.Sessions[0].State == proxy.StateOpen
			})
			if i := s.Sessions[0]; !i.Inbound || i.Transport != "v1" || i.Fallback != "spoke_v1" || i.Plaintext() != c.plain ||
				i.PeerAgent != "/clear-text-user-agent:1" || i.BytesToClient != uint64(len(message)) || s.Inbound.Fallbacks["spoke_v1"] != 1 {
				t.Errorf("the session is %+v", i)
			}
			for _, line := range e.logs.all() {
				if line["msg"] == "session opened" && (line["level"] == "WARN") != c.plain {
					t.Errorf("logged %v", line)
				}
			}
		})
	}
}

// A peer whose VERSION is too large, or no VERSION, or late, reaches no node.
func TestInboundV1Version(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{InboundV1: fallback.Always}})
	addr, nodes := e.serveNode(t, "")
	large := v1Message(mainnet, "version", make([]byte, 1025))
	for name, sent := range map[string][]byte{
		"too large":          large,
		"too large, at once": large[:24],
		"cut":                v1Message(mainnet, "version", version)[:50],
	} {
		peer := e.dialTo(addr)
		peer.Write(sent)
		if name == "cut" {
			peer.Close()
		} else {
			wantClosed(t, peer)
		}
	}
	e.until("their end", func(s proxy.Snapshot) bool { return s.Inbound.Pending == 0 })
	if len(nodes) > 0 {
		t.Error("the node was connected to")
	}
	peer := e.dialTo(addr)
	peer.Write(v1Message(mainnet, "version", make([]byte, 1024))) // the largest
	receive(t, nodes, "the node")
}

// Nothing is sent to who begins as v1 does: not before the bytes differ, not after all 16 are
// there, and not if they are another network's.
func TestInboundNeverAnswersV1(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	addr, _ := e.serveNode(t, "")
	for _, magic := range [][4]byte{mainnet, signet, nameless} {
		message := v1Message(magic, "version", version)
		for _, size := range []int{16, 24, len(message)} {
			peer := e.dialTo(addr)
			peer.Write(message[:size])
			wantClosed(t, peer)
		}
	}
	peer := e.dialTo(addr)
	peer.Write(v1Message(mainnet, "version", version)[:15])
	peer.(*net.TCPConn).CloseWrite()
	wantClosed(t, peer)

	peer = e.dialTo(addr)
	peer.Write(v1Message(mainnet, "version", version)[:15])
	peer.Write(bytes.Repeat([]byte{1}, 49)) // a key, after all
	if n, err := io.ReadFull(peer, make([]byte, 64)); err != nil {
		t.Errorf("after the bytes differ: %d bytes, %v, want a key", n, err)
	}
}
