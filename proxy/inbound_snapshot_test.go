package proxy_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// peer connects to addr with v2 and sends VERSION.
func (e *env) peer(addr string) (nc net.Conn, conn *v1v2.Conn) {
	e.t.Helper()
	nc = e.dialTo(addr)
	v2, err := transport.Client(context.Background(), nc, transport.Config{Magic: mainnet})
	if err != nil {
		e.t.Fatal(err)
	}
	conn = v1v2.NewConn(v2, mainnet)
	conn.Write(v1Message(mainnet, "version", version))
	return nc, conn
}

// A peer's session has its direction, and the node's words where a client's has the client's; what
// comes in counts apart from what goes out; scanners are counted only.
func TestInboundSnapshot(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	if now := e.server.Snapshot(); now.Inbound != nil {
		t.Errorf("without a listener for peers: got %+v", now.Inbound)
	}
	leave := make(chan struct{})
	node := testkit.Serve(t, func(nc net.Conn) {
		if name, _, err := readV1(nc); name != "version" || err != nil {
			t.Errorf("the node got %s, %v", name, err)
		}
		nc.Write(v1Message(mainnet, "version", version))
		nc.Write(v1Message(mainnet, "verack", nil))
		<-leave
	})
	addr := e.listenInbound(node)

	for i, first := range []string{"", "GET / HTTP/1.0\r\n\r\n", string(v1Message(mainnet, "version", version)), string(v1Message(signet, "version", version)), strings.Repeat("x", 5000)} {
		nc := e.dialTo(addr)
		io.WriteString(nc, first)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, nc)
		e.until("its end", func(s proxy.Snapshot) bool { return sumOf(s.Inbound.Refused) == uint64(i+1) })
	}
	now := e.server.Snapshot()
	if r := now.Inbound.Refused; r[proxy.KindScanner] != 3 || r[proxy.KindV1Refused] != 1 || r[proxy.KindOtherNetwork] != 1 || sumOf(now.Refused) != 0 {
		t.Errorf("refused: got %v, outbound %v", r, now.Refused)
	}
	if in := now.Inbound; len(in.Refusals)+len(now.Refusals) != 0 || in.Failing != nil || len(in.Listeners) != 1 || in.Listeners[0].Node != node || in.Listeners[0].Network != "mainnet" || in.Listeners[0].Source != "none" || in.V1 != "never" || in.MaxSessions != 125 {
		t.Errorf("got %+v", in)
	}
	for _, line := range e.logs.all() {
		if line["level"] != "DEBUG" {
			t.Errorf("a stranger's line in the log: %v", line)
		}
	}

	silent := e.dialTo(addr)
	e.until("a pending one", func(s proxy.Snapshot) bool { return s.Inbound.Pending == 1 && len(s.Sessions) == 0 })
	silent.Close()

	nc, _ := e.peer(addr)
	now = e.until("the session", func(s proxy.Snapshot) bool {
		return len(s.Sessions) == 1 && s.Sessions[0].MessagesToPeer == 2 && s.Sessions[0].MessagesToClient == 1
	})
	s := now.Sessions[0]
	if !s.Inbound || s.Client != node || s.Dest != nc.LocalAddr().String() || s.Source == "" || s.Transport != "v2" || len(s.SessionID) != 64 || s.Network != "mainnet" ||
		s.PeerAgent != "/clear-text-user-agent:1" || s.ClientAgent != s.PeerAgent || s.LastToPeer != "verack" || s.LastToClient != "version" {
		t.Errorf("got %+v", s)
	}
	if now.Opened["v2"] != 0 || now.Inbound.Opened["v2"] != 1 || now.Handshakes.Count != 0 || now.Inbound.Handshakes.Count != 1 || now.Traffic["v2"].BytesToPeer != 0 || now.Inbound.Traffic["v2"].MessagesToPeer != 2 {
		t.Errorf("got %+v, %+v", now.Counts, now.Inbound)
	}
	close(leave)
	io.Copy(io.Discard, nc)
	nc.Close()
	now = e.until("its end", func(s proxy.Snapshot) bool {
		return len(s.Inbound.Closed) == 1 && strings.Contains(e.logs.text(), `"session closed"`)
	})
	if c := now.Inbound.Closed[0]; !c.Inbound || c.Source == "" || c.Client != node || c.Reason != "the node closed the connection" || c.Hint != "" || len(now.Closed) != 0 {
		t.Errorf("got %+v", c)
	}
	lines := slices.DeleteFunc(e.logs.all(), func(l logLine) bool { return l["level"] == "DEBUG" })
	if len(lines) != 2 {
		t.Fatalf("got %v", lines)
	}
	for i, msg := range []string{"session opened", "session closed"} {
		if l := lines[i]; l["msg"] != msg || l["inbound"] != true || l["peer"] != s.Dest || l["node"] != node || l["source"] != s.Source || l["client"] != nil || l["dest"] != nil || l["transport"] != "v2" || l["hint"] != nil {
			t.Errorf("got %v", l)
		}
	}
}

// A node that is down is listed once, with what to do.
func TestInboundNodeDown(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{HideAddresses: true}})
	node := testkit.Nobody(t)
	addr := e.listenInbound(node)
	nc, _ := e.peer(addr)
	io.Copy(io.Discard, nc)
	for range 5 { // closed at once, until the node is dialed again
		io.Copy(io.Discard, e.dialTo(addr))
	}
	now := e.until("the refusals", func(s proxy.Snapshot) bool { return len(s.Inbound.Refusals) == 1 && s.Inbound.Pending == 0 })
	r, f := now.Inbound.Refusals[0], now.Inbound.Failing
	if r.Kind != proxy.KindNode || !strings.Contains(r.Reason, node) || !strings.Contains(r.Hint, "check that the node is running") || f == nil || f.Hint != r.Hint || now.Failing != nil {
		t.Errorf("got %+v, %+v", r, f)
	}
	warnings := 0
	for _, line := range e.logs.all() {
		if line["peer"] != nil || line["source"] != nil {
			t.Errorf("a redacted line has addresses: %v", line)
		}
		if line["level"] != "DEBUG" {
			warnings++
			if line["level"] != "WARN" || line["node"] != node || line["hint"] != r.Hint {
				t.Errorf("got %v", line)
			}
		}
	}
	if warnings != 1 {
		t.Errorf("%d lines about the node, want 1", warnings)
	}
}

func sumOf(counts map[string]uint64) (all uint64) {
	for _, n := range counts {
		all += n
	}
	return all
}
