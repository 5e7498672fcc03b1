package test

import (
	"net"
	"strings"
	"testing"
	"time"

	"bip324proxy/inbound"
	product "bip324proxy/proxy"
	"bip324proxy/test/hostile"
)

// A peer that came in, or the node, that vanishes while data is in flight to it ends its session soon, and the log says
// which of them it was; a session without data in flight stays.
func TestInboundVanished(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	listen, cut := far(t)
	const ackTimeout = 3 * time.Second
	server := &product.Server{AckTimeout: ackTimeout}
	u := startServer(t, server)

	// open opens a session from a peer that connects to from, to a node at to.
	open := func(from, to net.Listener) (peer *hostile.End, node net.Conn) {
		t.Helper()
		served := make(chan error, 1)
		in := product.Inbound{Node: &inbound.Node{Network: "tcp", Address: to.Addr().String()}, Magic: mainnetMagic}
		go func() { served <- server.ServeInbound(from, in) }()
		t.Cleanup(func() { from.Close(); <-served })
		nc, err := hostile.Dial(from.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		peer, err = hostile.Script{}.Shake(nc, true)
		if err == nil {
			err = peer.Send(hostile.V2(version.name, version.payload))
		}
		if err == nil {
			node, err = to.Accept()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { node.Close() })
		if name, _, err := hostile.ReadV1(node); name != "version" || err != nil {
			t.Fatalf("the node got %q, %v", name, err)
		}
		return peer, node
	}
	local := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	_, nodeOfLost := open(listen(), local())
	peerOfLost, _ := open(local(), listen())
	open(listen(), local()) // stays

	cut()
	began := time.Now()
	nodeOfLost.Write(hostile.V1("ping", junk[:8]))
	peerOfLost.Send(hostile.V2("ping", junk[:8]))
	closed := func() (reasons []string) {
		for _, line := range u.program.out.all() {
			if strings.Contains(line, "session closed") {
				reasons = append(reasons, line)
			}
		}
		return reasons
	}
	eventually(t, "both sessions end", func() bool { return len(closed()) >= 2 })
	if took := time.Since(began); took < ackTimeout || took > 3*ackTimeout {
		t.Errorf("ended after %v, want %v, or up to two thirds more", took, ackTimeout)
	}
	all := strings.Join(closed(), "\n")
	for _, who := range []string{"the peer", "the node"} {
		if strings.Count(all, who+" does not acknowledge data") != 1 {
			t.Errorf("not said of %s once: %s", who, all)
		}
	}
	if n := len(server.Snapshot().Sessions); n != 1 {
		t.Errorf("%d sessions are left, want the idle one", n)
	}
}
