package proxy_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// listenInbound makes the server accept peers for a node, and returns the address.
func (e *env) listenInbound(node string) (addr string) {
	e.t.Helper()
	return e.serveInbound(proxy.Inbound{Node: &inbound.Node{Network: "tcp", Address: node}})
}

// serveInbound makes the server accept peers on mainnet, and returns the address. Without a
// node it is the listener itself.
func (e *env) serveInbound(in proxy.Inbound) (addr string) {
	e.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	in.Magic = mainnet
	if in.Node == nil {
		in.Node = &inbound.Node{Network: "tcp", Address: l.Addr().String()}
	}
	served := make(chan error, 1)
	go func() { served <- e.server.ServeInbound(l, in) }()
	e.t.Cleanup(func() {
		l.Close()
		receive(e.t, served, "ServeInbound to return")
	})
	e.until("the listener for peers", func(s proxy.Snapshot) bool {
		return s.Inbound != nil && slices.ContainsFunc(s.Inbound.Listeners, func(in proxy.InboundListener) bool { return in.Address == l.Addr().String() })
	})
	return l.Addr().String()
}

// peerAt connects in v2 and sends VERSION. The error is that the connection was closed.
func peerAt(t *testing.T, addr string) (*v1v2.Conn, error) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	v2, err := transport.Client(t.Context(), nc, transport.Config{Magic: mainnet})
	if err != nil {
		nc.Close()
		return nil, err
	}
	conn := v1v2.NewConn(v2, mainnet)
	_, err = conn.Write(v1Message(mainnet, "version", version))
	return conn, err
}

// turnedAway fails the test if a peer gets anything, or no end, from a node.
func turnedAway(t *testing.T, addr string) {
	t.Helper()
	conn, err := peerAt(t, addr)
	if err != nil {
		return
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); len(got) > 0 || os.IsTimeout(err) {
		t.Errorf("a peer got %x, %v; want the end", got, err)
	}
}

// playedNode returns a node that serve plays.
func playedNode(t *testing.T, serve func(net.Conn)) *inbound.Node {
	return &inbound.Node{Network: "tcp", Address: testkit.Serve(t, serve)}
}

// While the node is down, peers are turned away. One line says so, however many come, and one that
// it is back: then peers come in again.
func TestNodeDown(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	path := filepath.Join(t.TempDir(), "node")
	addr := e.serveInbound(proxy.Inbound{Node: &inbound.Node{Network: "unix", Address: path}})
	for range 1000 {
		turnedAway(t, addr)
	}
	e.until("all to leave", func(s proxy.Snapshot) bool { return s.Inbound.Pending == 0 })
	loud := func() []logLine {
		return slices.DeleteFunc(e.logs.all(), func(l logLine) bool { return l["level"] == "DEBUG" })
	}
	if lines := loud(); len(lines) != 1 || lines[0]["level"] != "WARN" || lines[0]["node"] != "unix:"+path || lines[0]["hint"] == nil {
		t.Errorf("got %v, want one warning about the node", lines)
	}

	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.Write(v1Message(mainnet, "version", version))
			io.Copy(io.Discard, nc)
			nc.Close()
		}
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if conn, err := peerAt(t, addr); err == nil {
			if name, _, err := readV1(conn); err == nil && name == "version" {
				conn.Close()
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("no peer comes in, though the node is back")
		}
	}
	back := slices.DeleteFunc(loud(), func(l logLine) bool { return l["msg"] != "the node is back" })
	if len(back) != 1 || back[0]["node"] != "unix:"+path {
		t.Errorf("got %v, want one line that it is back", back)
	}
}

// nodeEnds runs a session with a played node, which ends for that reason; the node's connection was
// closed. The hint is not that it is down.
func nodeEnds(t *testing.T, in proxy.Inbound, reason string) {
	t.Helper()
	e := start(t, &proxy.Server{})
	turnedAway(t, e.serveInbound(in))
	now := e.until("the end", func(s proxy.Snapshot) bool { return len(s.Inbound.Closed) == 1 })
	if o := now.Inbound.Closed[0]; !strings.Contains(o.Reason, reason) || !strings.Contains(o.Hint, "see the node's log") {
		t.Errorf("the session ended because %q, hint %q; want %q", o.Reason, o.Hint, reason)
	}
}

// A node that takes connections and says nothing loses them.
func TestNodeHangs(t *testing.T) {
	t.Parallel()
	node := playedNode(t, func(nc net.Conn) { io.Copy(io.Discard, nc) })
	nodeEnds(t, proxy.Inbound{Node: node}.WithReplyTimeout(50*time.Millisecond), "it accepted the connection, and sent no message within")
}

// What is not v1 of its network ends the session.
func TestNodeSendsGarbage(t *testing.T) {
	t.Parallel()
	for _, garbage := range [][]byte{[]byte(strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 100)), v1Message(signet, "version", version)} {
		node := playedNode(t, func(nc net.Conn) {
			nc.Write(garbage)
			io.Copy(io.Discard, nc)
		})
		nodeEnds(t, proxy.Inbound{Node: node}, "magic")
	}
}

// A node may speak before it has read the peer's VERSION.
func TestNodeSpeaksFirst(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	got := make(chan string, 1)
	node := playedNode(t, func(nc net.Conn) {
		nc.Write(v1Message(mainnet, "version", version))
		name, _, _ := readV1(nc)
		got <- name
	})
	conn, err := peerAt(t, e.serveInbound(proxy.Inbound{Node: node}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if name, payload, err := readV1(conn); err != nil || name != "version" || string(payload) != string(version) {
		t.Errorf("the peer got %q, %x, %v", name, payload, err)
	}
	if name := receive(t, got, "the node's message"); name != "version" {
		t.Errorf("the node got %q", name)
	}
}

// A node that is the listener itself would begin sessions without end. The first is refused.
func TestNodeIsProxy(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{InboundV1: fallback.Always}})
	turnedAway(t, e.serveInbound(proxy.Inbound{}))
	now := e.until("the end", func(s proxy.Snapshot) bool { return s.Inbound.Pending == 0 })
	if len(now.Inbound.Closed) > 0 || now.Inbound.Opened["v1"]+now.Inbound.Opened["v2"] > 0 {
		t.Errorf("sessions were opened: %+v", now.Inbound)
	}
}
