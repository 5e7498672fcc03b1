package proxy_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// largeMessage is the payload of a message of 1 MB.
var largeMessage = make([]byte, 1_000_000)

// cutConn is a connection that is closed after so many bytes more that are written to it.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (n int, err error) {
	n, err = c.Conn.Write(p[:min(len(p), c.left)])
	if c.left -= n; n < len(p) {
		c.Close()
		err = net.ErrClosed
	}
	return n, err
}

// peerV2 connects to addr with v2 and sends nothing.
func (e *env) peerV2(addr string) (net.Conn, *transport.Conn) {
	e.t.Helper()
	nc := e.dialTo(addr)
	v2, err := transport.Client(context.Background(), &cutConn{nc, 1 << 30}, transport.Config{Magic: mainnet})
	if err != nil {
		e.t.Fatal(err)
	}
	return nc, v2
}

// Whatever ends a peer's session, at any point of it, both connections end and no memory stays in use.
// A node is called if, and only if, a VERSION has come.
func TestInboundEnds(t *testing.T) {
	t.Parallel()
	contents := func(name string, payload []byte) []byte { // in BIP324's long form
		var id [13]byte
		copy(id[1:], name)
		return append(id[:], payload...)
	}
	greet := func(v2 *transport.Conn) { v2.WritePacket(contents("version", version)) }
	stay := func(nc net.Conn) { io.Copy(io.Discard, nc) }
	answer := func(nc net.Conn) {
		readV1(nc)
		nc.Write(v1Message(mainnet, "version", version))
	}
	half := v1Message(mainnet, "block", largeMessage)[:500_000]
	for _, c := range []struct {
		name   string
		peer   func(nc net.Conn, v2 *transport.Conn)
		node   func(nc net.Conn) // nil: it must not be called
		opened bool
	}{
		{"the peer leaves before its VERSION", func(nc net.Conn, _ *transport.Conn) { nc.Close() }, nil, false},
		{"the peer resets before its VERSION", func(nc net.Conn, _ *transport.Conn) { reset(nc) }, nil, false},
		{"a large packet first", func(_ net.Conn, v2 *transport.Conn) { v2.WritePacket(contents("version", largeMessage)) }, nil, false},
		{"a large decoy first", func(_ net.Conn, v2 *transport.Conn) { v2.WriteDecoy(largeMessage); greet(v2) }, nil, false},
		{"a VERSION over the limit", func(_ net.Conn, v2 *transport.Conn) { v2.WritePacket(contents("version", make([]byte, 1025))) }, nil, false},
		{"not a VERSION first", func(_ net.Conn, v2 *transport.Conn) { v2.WritePacket(contents("ping", version[:8])) }, nil, false},
		{"the node hangs up", func(nc net.Conn, v2 *transport.Conn) { greet(v2); stay(nc) }, func(nc net.Conn) {}, true},
		{"the node resets", func(nc net.Conn, v2 *transport.Conn) { greet(v2); stay(nc) }, func(nc net.Conn) { readV1(nc); reset(nc) }, true},
		{"the node speaks another network", func(nc net.Conn, v2 *transport.Conn) { greet(v2); stay(nc) },
			func(nc net.Conn) { readV1(nc); nc.Write(v1Message(signet, "version", version)); stay(nc) }, true},
		{"the node leaves within a large message", func(nc net.Conn, v2 *transport.Conn) { greet(v2); stay(nc) },
			func(nc net.Conn) { answer(nc); nc.Write(half) }, true},
		{"the node resets within a large message", func(nc net.Conn, v2 *transport.Conn) { greet(v2); stay(nc) },
			func(nc net.Conn) { answer(nc); nc.Write(half); reset(nc) }, true},
		{"the peer leaves within a large message", func(nc net.Conn, v2 *transport.Conn) {
			greet(v2)
			v2.ReadPacket()
			v2.NetConn().(*cutConn).left = len(largeMessage) / 2
			v2.WritePacket(contents("block", largeMessage))
		}, func(nc net.Conn) { answer(nc); stay(nc) }, true},
		{"the peer resets instead of reading", func(nc net.Conn, v2 *transport.Conn) { greet(v2); v2.ReadPacket(); reset(nc) }, func(nc net.Conn) {
			answer(nc)
			for range 20 {
				if _, err := nc.Write(v1Message(mainnet, "block", largeMessage)); err != nil {
					return
				}
			}
			stay(nc)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := start(t, &proxy.Server{LingerTimeout: time.Second / 4})
			node := testkit.Serve(t, func(nc net.Conn) {
				if c.node == nil {
					t.Error("the node was called")
					return
				}
				c.node(nc)
			})
			nc, v2 := e.peerV2(e.listenInbound(node))
			c.peer(nc, v2)
			if _, err := v2.ReadPacket(); err == nil {
				stay(nc)
			}
			nc.Close()
			now := e.until("the end", func(s proxy.Snapshot) bool {
				return len(s.Sessions) == 0 && s.Inbound.Pending == 0 && s.Inbound.Opened["v2"]+sumOf(s.Inbound.Refused) > 0
			})
			if in := now.Inbound; (in.Opened["v2"] == 1) != c.opened || in.MessageMemory.Taken+in.MessageMemory.Waiting > 0 {
				t.Errorf("opened %v, refused %v, %+v", in.Opened, in.Refused, in.MessageMemory)
			}
			if now.Opened["v2"]+sumOf(now.Refused) > 0 || now.MessageMemory.Taken > 0 {
				t.Errorf("outbound: %+v, %+v", now.Counts, now.MessageMemory)
			}
		})
	}
}
