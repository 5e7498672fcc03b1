package proxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/errno"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// newPeerSession returns the session of a peer with that address.
func newPeerSession(addr string) *session {
	node := &inbound.Node{Network: "tcp", Address: "127.0.0.1:8334"}
	return &session{server: new(Server), policy: new(Policy), peer: &inboundPeer{Inbound: Inbound{Node: node}},
		from:  clientNetwork(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))),
		shown: SessionInfo{Inbound: true, Client: node.String(), Dest: addr, Network: "mainnet"}}
}

// What strangers can cause at will is only counted, and has words about the peer and the node: no
// client is involved.
func TestInboundKindsAndWords(t *testing.T) {
	down := &inbound.NodeError{Node: "127.0.0.1:8334", Err: &net.OpError{Op: "dial", Net: "tcp", Addr: new(net.TCPAddr), Err: errno.ECONNREFUSED}}
	seen := map[string]bool{"": true}
	for _, c := range []struct {
		err    error
		kind   string
		listed bool
		words  string
	}{
		{errStopping, KindStopping, false, "the proxy is stopping"},
		{down, KindNode, true, "cannot connect to the node at 127.0.0.1:8334: "},
		{&v1v2.EndError{Side: v1v2.ClientSide, Err: io.EOF}, KindNode, true, "the node closed the connection"},
		{&v1v2.EndError{Side: v1v2.ClientSide, Err: errUnacknowledged}, KindNode, true, "the node does not acknowledge data"},
		{&inbound.NodeError{Node: "127.0.0.1:8333", Err: errOwnNode}, KindNode, true, "the node of --inbound is the proxy itself"},
		{&inbound.NodeError{Node: "node:8333", Err: new(inbound.PublicNodeError)}, KindNode, true, "public address"},
		{inbound.ErrFull, KindInboundFull, false, "all inbound sessions are in use"},
		{inbound.ErrTooOften, KindInboundLimit, false, inbound.ErrTooOften.Error()},
		{inbound.ErrEvicted, KindInboundLimit, false, "evicted for another peer"},
		{&transport.HandshakeError{Received: 16, Err: transport.ErrV1Peer}, KindV1Refused, false, "the peer speaks v1: it sent a VERSION of mainnet"},
		{&transport.HandshakeError{Received: 16, First: []byte("\x0b\x11\x09\x07version\x00\x00\x00\x00\x00"), Err: transport.ErrV1OtherNetwork}, KindOtherNetwork, false, "on another network than mainnet: testnet3"},
		{&transport.HandshakeError{Received: 4, Err: errNoVersion}, KindScanner, false, "did not complete the v2 handshake in time: it sent 4 bytes"},
		{&transport.HandshakeError{Err: io.EOF}, KindScanner, false, "hung up during the v2 handshake, after 0 bytes"},
		{&transport.HandshakeError{Received: 5000, Err: transport.ErrNoTerminator}, KindScanner, false, "v2 handshake is invalid"},
		{errNoVersion, KindScanner, false, "did not send a VERSION in time"},
		{io.EOF, KindScanner, false, "the peer closed the connection"},
		{&net.OpError{Op: "read", Net: "tcp", Addr: new(net.TCPAddr), Err: os.NewSyscallError("read", errno.ECONNRESET)}, KindScanner, false, "the peer: the connection was reset"},
		{&v1v2.EndError{Side: v1v2.PeerSide, Err: io.ErrUnexpectedEOF}, KindScanner, false, "the peer closed the connection within a message"},
		{&stalledError{v1v2.ClientSide}, KindOther, true, "the node has not completed a message for too long"},
		{&v1v2.EndError{Side: v1v2.PeerSide, Err: transport.ErrMemory}, KindOther, true, "no memory for a large message from the peer"},
		{errors.New("something else"), KindScanner, false, "something else"},
		{nil, "", true, "both sides closed the connection"},
	} {
		o := newPeerSession("203.0.113.7:5000").outcomeOf(c.err)
		if o.Kind != c.kind || o.why.routine == c.listed || !strings.Contains(o.Reason, c.words) || strings.Contains(o.Reason, "client") {
			t.Errorf("%v: got %+v", c.err, o)
		}
		if !c.listed && o.why.level > slog.LevelDebug {
			t.Errorf("%v: a stranger can fill the log", c.err)
		}
		redacted, _ := newPeerSession("203.0.113.7:5000").explain(o.why, c.err, true)
		if !strings.Contains(redacted, c.words) && c.words != "something else" {
			t.Errorf("%v: redacted: %s", c.err, redacted)
		}
		seen[o.Kind] = true
	}
	for _, kind := range InboundRefusalKinds {
		if !seen[kind] {
			t.Errorf("%s is not tested", kind)
		}
	}
	for _, kind := range []string{KindNode, KindInboundFull, KindInboundLimit, KindV1Refused, KindOtherNetwork, KindScanner} {
		if slices.Contains(RefusalKinds, kind) {
			t.Errorf("a client's session is never refused for %s", kind)
		}
	}
}

// A node that is down is one row whoever came, a peer's sessions are one whatever its port, and a
// flood of scanners is none.
func TestInboundRepeatsAreOneRow(t *testing.T) {
	tally := newTally(InboundRefusalKinds)
	add := func(addr, transport string, err error) {
		s := newPeerSession(addr)
		s.shown.Transport = transport
		tally.add(s.outcomeOf(err), Traffic{})
	}
	for i := range 1000 {
		addr := fmt.Sprintf("203.%d.%d.1:%d", i/256, i%256, 10000+i)
		add(addr, "", &inbound.NodeError{Node: "127.0.0.1:8334", Err: io.EOF})
		add(addr, "", io.EOF)
		add("192.0.2.1:"+fmt.Sprint(10000+i), "v2", &v1v2.EndError{Side: v1v2.PeerSide, Err: io.EOF})
		add("[2001:db8::"+fmt.Sprintf("%x", i)+"]:5000", "v2", inbound.ErrEvicted)
	}
	var c Counts
	tally.copyTo(&c)
	if len(c.Refusals) != 1 || c.Refusals[0].Count != 1000 || c.Refusals[0].Kind != KindNode || c.Refused[KindNode] != 1000 || c.Refused[KindScanner] != 1000 {
		t.Errorf("got %d rows, %+v; %v", len(c.Refusals), c.Refusals, c.Refused)
	}
	if len(c.Closed) != 2 || c.Closed[1].Count != 1000 || c.Closed[0].Reason != inbound.ErrEvicted.Error() || tally.evicted != 1000 {
		t.Errorf("got %+v, %d evicted", c.Closed, tally.evicted)
	}
	if f := c.Failing; f == nil || f.Kind != KindNode || f.Count != 1000 {
		t.Errorf("got %+v", f)
	}
	if len(c.Refused) != len(InboundRefusalKinds) {
		t.Errorf("got %v", c.Refused)
	}
}

// Repeated lines about a node are one, and name the node, not the peers.
func TestInboundRefusalsAreFolded(t *testing.T) {
	var lines strings.Builder
	server := &Server{Log: slog.New(slog.NewTextHandler(&lines, nil))}
	server.SetPolicy(Policy{})
	for i := range 10 {
		s := newPeerSession(fmt.Sprintf("203.0.113.%d:5000", i))
		s.server, s.shown.Began = server, time.Now()
		err := &v1v2.EndError{Side: v1v2.ClientSide, Err: errno.ECONNRESET}
		s.logOutcome(s.outcomeOf(err), err)
		s.logOutcome(s.outcomeOf(io.EOF), io.EOF)
	}
	server.folded.tellAll()
	got := strings.Split(strings.TrimSpace(lines.String()), "\n")
	if len(got) != 2 || !strings.Contains(got[0], "inbound=true peer=203.0.113.0:5000 node=127.0.0.1:8334 reason=") ||
		!strings.Contains(got[1], "node=127.0.0.1:8334 repeated=9") {
		t.Errorf("got\n%s", lines.String())
	}
}
